/**
 * Cleaning up inside the disks of a clone, with libguestfs's own system under software emulation: on the dashboard as a
 * process, which is killed in the middle of it.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { DiskFiles } from '#lib/schema/disk-files.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Volume } from '#lib/schema/storage.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { makeExt, OS_RELEASE, putFiles, scratch } from '#server/filesystems/testing/forge.ts'
import { findCleanUpTools } from '#server/small-system/tools.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { Dashboard, storedDocuments } from '#server/testing/dashboard.ts'
import { dir } from '#server/testing/process-rig.ts'

const ID = '0123456789abcdef0123456789abcdef\n'
const RULES = 'etc/udev/rules.d/70-persistent-net.rules'

/** A system as far as libguestfs has to find it to be one. */
function systemDisk(): Buffer {
  const at = scratch()
  const root = join(at, 'root')
  putFiles(root, {
    'etc/os-release': OS_RELEASE,
    'etc/debian_version': '12.5\n',
    'etc/fstab': '/dev/vda1 / ext4 defaults 0 1\n',
    'etc/machine-id': ID,
    'etc/hostname': 'golden\n',
    'etc/hosts': '127.0.0.1 localhost\n127.0.1.1 golden\n',
    'etc/ssh/ssh_host_ed25519_key': 'the private key of the golden image',
    'etc/ssh/ssh_host_ed25519_key.pub': 'the public key of the golden image',
    'etc/ssh/sshd_config': 'PermitRootLogin no\n',
    'var/lib/dhcp/dhclient.eth0.leases': 'lease {}\n',
    'var/log/syslog': 'what happened\n',
    'home/ann/notes.txt': 'hers',
    [RULES]: 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:00:00:01", NAME="eth0"\n',
  })
  for (const name of ['bin', 'sbin', 'usr/bin', 'usr/lib', 'dev', 'proc', 'tmp', 'root', 'etc/systemd/system'])
    mkdirSync(join(root, name), { recursive: true })
  const system = readFileSync(makeExt(join(at, 'root.img'), root, 'ext4', 24))
  const table = Buffer.alloc(2 ** 20)
  // One partition of Linux, active, from the first MiB on.
  table.set([0x80, 0, 0, 0, 0x83, 0, 0, 0], 446)
  table.writeUInt32LE(table.length / 512, 454)
  table.writeUInt32LE(system.length / 512, 458)
  table.set([0x55, 0xaa], 510)
  return Buffer.concat([table, system])
}

async function until<T>(ask: () => Promise<T>, isSo: (value: T) => boolean): Promise<void> {
  while (!isSo(await ask())) await new Promise((resolve) => setTimeout(resolve, 50))
}

const { problem } = findCleanUpTools()
const LACK = existsSync('/usr/sbin/mke2fs') || existsSync('/sbin/mke2fs') ? problem : 'mke2fs is not installed.'

test.skipIf(LACK !== null)(
  `a clone becomes a machine of its own inside its disks, and one that is killed or cancelled meanwhile was never there${LACK === null ? '' : `: left out: ${LACK}`}`,
  async () => {
    using deck = await Dashboard.start()
    const binary = { 'content-type': 'application/octet-stream' }
    const uploaded = await deck.send('POST', '/images/upload?name=golden.img', binary, systemDisk())
    const image = (await uploaded.json()) as Image
    const source = await deck.ask<Vm>('POST', '/vms', {
      ...{ name: 'golden', memoryMiB: 32, accelerator: 'tcg', firmware: 'bios', guest: 'linux', networks: [] },
      disks: [{ id: 'a', device: 'disk', image: image.id, sizeGiB: 1 }],
    })
    const facts = await deck.ask('GET', `/vms/${source.id}/clones`)
    expect(facts).toMatchObject({ cleanUp: { allowed: true, reason: null } })

    const begin = (input: object) =>
      deck.ask<Job>('POST', `/vms/${source.id}/clones`, { name: 'node {index}', cleanUp: {}, ...input })
    const works = (job: Job) =>
      until(
        () => deck.ask<Job>('GET', `/jobs/${job.id}`),
        ({ step, error }) => {
          expect(error).toBeUndefined()
          return step === 'node 7: clean-up: looking for its system'
        },
      )
    const appliances = join(dir, 'd/appliances')
    const onlyTheSource = async () => {
      expect((await deck.items<Vm>('/vms')).map(({ name }) => name)).toEqual(['golden'])
      expect(readdirSync(join(dir, 'd/vms'))).toEqual([source.id])
      expect(readdirSync(join(dir, 'r/readers'))).toEqual([])
      expect(storedDocuments('layer').filter(({ value }) => value.state !== 'ready')).toEqual([])
      expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(join(dir, 'r/readers'))
    }

    // While the small system is made of this host's packages.
    await deck.dieAt({ at: '^run supermin' }, () => begin({ firstIndex: 7 }))
    await onlyTheSource()
    expect(readdirSync(appliances)).toEqual([])

    // While the disk is worked on.
    const killed = await begin({ firstIndex: 7 })
    await works(killed)
    await deck.kill()
    await deck.again()
    expect(await deck.ask<Job>('GET', `/jobs/${killed.id}`)).toMatchObject({ error: { code: 'interrupted' } })
    await expect.poll(onlyTheSource, { timeout: 20_000 }).toBeUndefined()
    const [key = ''] = readdirSync(appliances)
    expect(readdirSync(join(appliances, key)).sort()).toEqual(['README.fixed', 'initrd', 'kernel', 'root'])
    const made = statSync(join(appliances, key, 'root'))
    if (process.getuid?.() === 0)
      expect([made.mode & 0o777, made.uid]).toEqual([0o640, guestIdentity(true).dashboardGid ?? 0])

    const given = await begin({ firstIndex: 7, kind: 'full' })
    await works(given)
    await deck.ask('POST', `/jobs/${given.id}/cancel`)
    expect(await deck.end(given)).toMatchObject({ state: 'cancelled' })
    await onlyTheSource()

    const wish = { operations: ['machine-id', 'ssh-hostkeys', 'dhcp-client-state', 'udev-persistent-net'] }
    const id = await deck.done('POST', `/vms/${source.id}/clones`, {
      ...{ name: 'node {index}', firstIndex: 7, kind: 'linked' },
      cleanUp: { ...wish, hostName: 'node-{index}' },
    })
    expect(await deck.vm(id)).toMatchObject({ name: 'node 7', origin: { kind: 'linked' } })
    expect(readdirSync(join(dir, 'r/readers'))).toEqual([])
    // Nothing of one disk stays for the next.
    expect(statSync(join(appliances, key, 'root')).mtimeMs).toBe(made.mtimeMs)

    const volumes = await deck.items<Volume>('/volumes')
    const files = (vmId: string) => {
      const volume = volumes.find(({ vm }) => vm?.id === vmId)
      const path = `/volumes/${volume?.id}/files`
      return {
        async names(at: string) {
          const { entries } = await deck.ask<DiskFiles>('GET', `${path}?part=1&path=${encodeURIComponent(at)}`)
          return entries.map(({ name }) => name).sort()
        },
        text: async (at: string) =>
          (await deck.send('GET', `${path}/content?part=1&path=${encodeURIComponent(at)}`, {})).text(),
      }
    }
    const [before, after] = [files(source.id), files(id)]
    expect(await before.text('/etc/machine-id')).toBe(ID)
    expect(await before.text('/etc/hostname')).toBe('golden\n')
    expect(await before.names('/etc/ssh')).toHaveLength(3)
    expect(await after.text('/etc/machine-id')).toMatch(/^[0-9a-f]{32}\n?$/)
    expect(await after.text('/etc/machine-id')).not.toContain(ID.trim())
    expect((await after.text('/etc/hostname')).trim()).toBe('node-7')
    expect(await after.text('/etc/hosts')).toMatch(/^127\.0\.1\.1\s+node-7$/m)
    expect(await after.names('/etc/ssh')).toEqual(['sshd_config'])
    expect(await after.names('/var/lib/dhcp')).toEqual([])
    expect(await after.names('/etc/udev/rules.d')).toEqual([])
    expect(await after.text('/home/ann/notes.txt')).toBe('hers')
    expect(await after.names('/var/log')).toContain('syslog')
    // Who has no host keys makes some at the first start, or nobody could sign in.
    const [script = ''] = await after.names('/usr/lib/virt-sysprep/scripts')
    expect(await after.text(`/usr/lib/virt-sysprep/scripts/${script}`)).toContain('ssh-keygen -A')
    expect(execFileSync('qemu-img', ['check', '-f', 'qcow2', join(dir, 'd/vms', id, 'a.qcow2')]).toString()).toContain(
      'No errors',
    )
  },
  600_000,
)
