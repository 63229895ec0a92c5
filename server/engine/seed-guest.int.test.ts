import { execFileSync } from 'node:child_process'
import { createReadStream, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { canBuildCloudImage, ensureCloudImage } from '#e2e/guests/cloud-image.ts'
import { VmCreateInput } from '#lib/api/operations/vms.ts'
import { ANN, anotherRun, data, now, options, until } from './test-rig.ts'

/** The first time the image is built from packages, a minute on an idle machine. */
const BUILD_TIMEOUT_MS = 1_900_000
/** TCG on a machine that does other things. */
const BOOT_MS = 300_000
const COMMAND_MS = 60_000
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0000000000000000000000000000000000000000 ann@desk'
const PASSWORD = 'correct horse battery'

let image: string
beforeAll(async () => {
  if (canBuildCloudImage()) image = await ensureCloudImage()
}, BUILD_TIMEOUT_MS)

const said = (id: string): string => {
  const history = now.supervisor.serialHub(id)?.history()
  return history === undefined ? '' : Buffer.concat([history.head, history.tail]).toString()
}
const type = (id: string, text: string): void => {
  now.supervisor.serialHub(id)?.write(Buffer.from(`${text}\r`))
}
/** Runs a command at the guest's shell; what it printed. */
async function run(id: string, command: string): Promise<string> {
  const mark = `m${Math.round(performance.now())}`
  type(id, `${command}; echo "${mark}"-end`)
  const text = await until(
    () => said(id),
    (all) => new RegExp(`^${mark}-end`, 'm').test(all),
    COMMAND_MS,
  )
  const from = text.lastIndexOf(`"${mark}"-end`)
  const printed = text.slice(from, text.indexOf(`${mark}-end`, from + mark.length + 6))
  // The shell switches bracketed paste off before each command.
  return printed.replaceAll('\r', '').replaceAll('\x1b[?2004l', '')
}

describe('a cloud image with a seed', () => {
  it.runIf(canBuildCloudImage())(
    'starts with the user, key, host name and addresses asked for, and the used seed leaves the running guest',
    {
      timeout: BOOT_MS + 4 * COMMAND_MS,
    },
    async () => {
      options.seedTimes = { agentMs: 1000, shutdownMs: 1000, runMs: BOOT_MS * 2 }
      await anotherRun(() => {})
      const uploaded = await now.engine.images.upload(
        ANN,
        { name: 'debian-12-cloud.qcow2' },
        createReadStream(image),
        statSync(image).size,
      )
      const vm = await now.engine.vms.create(
        ANN,
        VmCreateInput.parse({
          name: 'Web #1',
          guest: 'linux',
          memoryMiB: 768,
          cpus: 2,
          display: 'none',
          disks: [{ device: 'disk', image: uploaded.id, sizeGiB: 2 }],
          networks: [{}],
          seed: {
            kind: 'nocloud',
            removeAfterUse: true,
            index: 4,
            form: {
              userName: 'ann',
              password: PASSWORD,
              sshKeys: [KEY],
              hostName: 'node-{index}',
              commands: ['echo "seeded {name} on $(hostname)" > /dev/ttyS0'],
              networks: [
                {
                  card: 0,
                  mode: 'static',
                  addresses: ['10.0.2.77/24'],
                  gateways: ['10.0.2.2'],
                  nameServers: ['10.0.2.3'],
                },
              ],
            },
          },
        }),
      )
      await now.engine.vms.start(ANN, vm.id)
      expect((await now.engine.seeds.view(ANN, vm.id)).seed).toMatchObject({ state: 'waiting', inserted: true })
      const text = await until(
        () => said(vm.id),
        (all) => all.includes('seeded Web #1 on node-4') && /node-4 login:/.test(all),
        BOOT_MS,
      )
      expect(text).not.toContain(PASSWORD)

      type(vm.id, 'ann')
      await until(
        () => said(vm.id),
        (all) => /Password:\s*$/.test(all),
        COMMAND_MS,
      )
      type(vm.id, PASSWORD)
      await until(
        () => said(vm.id),
        (all) => /\$ \S*$/.test(all),
        COMMAND_MS,
      )
      const found = await run(
        vm.id,
        'hostname; id -un; cat ~/.ssh/authorized_keys; sudo -n id -u; ip -4 -o addr show scope global; lsblk -bno SIZE /dev/vda1; df -BM --output=size / | tail -1',
      )
      expect(found).toContain('\nnode-4\nann\n')
      expect(found).toContain(KEY)
      expect(found).toMatch(/^0$/m)
      expect(found).toContain('10.0.2.77/24')
      // It grew to the disk it was given.
      expect(Number(/^(\d+)$/m.exec(found.slice(found.indexOf('10.0.2.77')))?.[1])).toBeGreaterThan(1.9 * 2 ** 30)
      expect(Number(/(\d+)M\n/.exec(found)?.[1])).toBeGreaterThan(1800)

      const gone = await until(
        () => now.engine.seeds.view(ANN, vm.id),
        ({ seed }) => seed?.state === 'removed',
        COMMAND_MS,
      )
      expect(gone.seed).toMatchObject({ inserted: false, drive: null, usedWhy: 'The guest agent has been running.' })
      expect(readdirSync(data.vmDir(vm.id)).filter((name) => name.startsWith('seed'))).toEqual([])
      expect((await now.engine.vms.view(ANN, vm.id)).pending).toEqual([])
      expect(await run(vm.id, 'sudo blkid /dev/sr0 || echo no-medium')).toContain('\nno-medium')
      const activity = await now.engine.vms.activity(ANN, vm.id, { limit: 50 })
      expect(activity.items.map(({ what }) => what)).toEqual(expect.arrayContaining(['vmSeedUsed', 'vmSeedRemoved']))
      await now.engine.vms.poweroff(ANN, vm.id)
      delete options.seedTimes
    },
  )

  it('is on a CD that other tools read', async () => {
    const vm = await now.engine.vms.create(
      ANN,
      VmCreateInput.parse({ name: 'read', memoryMiB: 64, seed: { kind: 'kickstart', form: { userName: 'ann' } } }),
    )
    const [name = ''] = readdirSync(data.vmDir(vm.id)).filter((file) => file.startsWith('seed'))
    const path = join(data.vmDir(vm.id), name)
    expect(execFileSync('blkid', ['-p', '-o', 'export', path], { encoding: 'utf8' })).toMatch(/^LABEL=OEMDRV$/m)
    const list = execFileSync('xorriso', ['-indev', path, '-find', '/', '-exec', 'report_lba'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(list).toContain('ks.cfg')
  })
})
