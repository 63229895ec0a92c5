/** What a guest would find if it broke out of QEMU, where the dashboard is root: looked at from outside and as its user. */
import { execFileSync } from 'node:child_process'
import { chownSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { guestIdentity } from '#server/storage/identity.ts'
import { ANN, BEN, bootDisk, create, data, isRoot, now, runDir, upload } from './test-rig.ts'

test.skipIf(!isRoot)(
  'a guest’s QEMU is nobody, may nothing, has no foreign file open, and its user reads no other VM’s disk',
  async () => {
    const image = await upload(ANN, bootDisk())
    const disk = { device: 'disk', sizeGiB: 1 }
    const vm = await create(ANN, { name: 'mine', memoryMiB: 64, cpus: 1, disks: [{ ...disk, image: image.id }] })
    const other = await create(BEN, { name: 'other', memoryMiB: 64, cpus: 1, disks: [disk] })
    const both = [await now.engine.vms.start(ANN, vm.id), await now.engine.vms.start(BEN, other.id)]
    const [mine, theirs] = both.map(({ id, spec, live }) => ({
      pid: live?.pid ?? 0,
      uid: live?.uid ?? 0,
      disk: data.disk(id, spec.disks[0]?.id ?? ''),
      run: join(runDir, id),
    }))
    if (mine === undefined || theirs === undefined) throw new Error('both were started')
    expect(mine.uid).not.toBe(theirs.uid)

    const status = new Map(
      readFileSync(`/proc/${mine.pid}/status`, 'utf8')
        .split('\n')
        .map((line) => line.split(':\t') as [string, string]),
    )
    const four = (id: number) => Array(4).fill(id).join('\t')
    expect(Object.fromEntries(status)).toMatchObject({
      ...{ Uid: four(mine.uid), Gid: four(mine.uid), NoNewPrivs: '1', Seccomp: '2' },
      ...{ CapInh: '0'.repeat(16), CapPrm: '0'.repeat(16), CapEff: '0'.repeat(16), CapBnd: '0'.repeat(16) },
      CapAmb: '0'.repeat(16),
    })
    expect(mine.uid).toBeGreaterThan(1000)

    const open = readdirSync(`/proc/${mine.pid}/fd`).map((fd) => readlinkSync(`/proc/${mine.pid}/fd/${fd}`))
    // Of files, its own and the image it stands on; the rest are sockets, events and memory of its own.
    const own = [mine.disk, data.image(image.id)]
    expect(open).toEqual(expect.arrayContaining(own))
    const isOwn = (name: string) =>
      own.includes(name) || name.startsWith(`${mine.run}/`) || /^(socket:|pipe:|anon_inode:|\/memfd:)/.test(name)
    expect(open.filter((name) => !isOwn(name) && !/^\/dev\/(null|urandom|kvm|zero)$/.test(name))).toEqual([])

    const groups = (status.get('Groups') ?? '').trim().split(/\s+/).join(',')
    /** Exit code of a program that runs as that guest's user, with all that its QEMU has. */
    const asGuest = (...argv: string[]): number => {
      const ids = [
        `--reuid=${mine.uid}`,
        `--regid=${mine.uid}`,
        groups === '' ? '--clear-groups' : `--groups=${groups}`,
      ]
      try {
        execFileSync('setpriv', [...ids, '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '--', ...argv], {
          stdio: 'ignore',
        })
        return 0
      } catch (error) {
        return (error as { status: number }).status
      }
    }
    // That it can read its own proves that it could.
    for (const path of own) expect(asGuest('head', '-c', '1', path), path).toBe(0)
    for (const path of [theirs.disk, `${data.root}/state.db`, join(theirs.run, 'qmp.sock')])
      expect(asGuest('head', '-c', '1', path), path).toBe(1)
    for (const dir of [theirs.run, data.vmDir(other.id), data.uploadsDir, data.root])
      expect(asGuest('ls', dir), dir).not.toBe(0)
    // The dashboard's own group gets at what is either guest's, without being root or having any of its capabilities.
    const { dashboardGid: group, readersGid: readers } = guestIdentity(true)
    const asDashboard = (...argv: string[]) =>
      execFileSync(
        'setpriv',
        [
          ...[`--reuid=${group}`, `--regid=${group}`, `--groups=${readers}`, '--no-new-privs', '--inh-caps=-all'],
          ...argv,
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
      )
    for (const { run, disk, uid } of [mine, theirs]) {
      // The directory is its own, whoever it is.
      chownSync(dirname(disk), group ?? 0, uid)
      asDashboard(
        'sh',
        '-c',
        `head -c 1 '${disk}' > '${run}/from-outside' && [ -w '${disk}' ] && rm '${run}/from-outside'`,
      )
      asDashboard('test', '-w', join(run, 'qmp.sock'))
    }
    expect(() => asDashboard('head', '-c', '1', '/etc/shadow')).toThrow()
    // Nor does it signal or look into the other's process, or write to the image.
    expect(asGuest('kill', '-0', String(theirs.pid))).not.toBe(0)
    expect(asGuest('ls', `/proc/${theirs.pid}/fd`)).not.toBe(0)
    expect(asGuest('sh', '-c', `: >> '${data.image(image.id)}'`)).not.toBe(0)
    expect(readFileSync(data.image(image.id)).equals(bootDisk())).toBe(true)
  },
)
