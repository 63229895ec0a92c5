/** The launcher as its own process, asked by a dashboard that somebody has taken over. */
import { spawn } from 'node:child_process'
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readAllowedCpus } from '#server/platform/cpus.ts'
import { createLog } from '#server/platform/fs.ts'
import { isAlive, readProcStat, readUid } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { createPoolChild } from '#server/storage/pool-child.ts'
import { type Launcher, startLauncher } from './client.ts'
import type { Shape } from './shapes.ts'
import { virtiofsdLock } from './virtiofsd-locks.ts'

const isRoot = process.getuid?.() === 0
const { readersGid, dashboardGid } = guestIdentity(isRoot)
const OURS = dashboardGid ?? 0
const READERS = readersGid ?? 0
const GUEST = READERS + 17
const MARK = 'guestdeck-pool.json'
const SETPRIV = '/usr/bin/setpriv'

describe.skipIf(!isRoot || dashboardGid === null)('the launcher', () => {
  let root: string
  let dir: string
  let launcher: Launcher
  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'gd-launcher-')))
    mkdirSync(join(root, 'pools'))
    const [cert, key] = [join(root, 'cert.pem'), join(root, 'key.pem')]
    writeFileSync(cert, 'c', { mode: 0o600 })
    writeFileSync(key, 'k', { mode: 0o600 })
    launcher = startLauncher({
      dataDir: join(root, 'd'),
      runDir: join(root, 'r'),
      poolDirs: [join(root, 'pools')],
      certificate: { cert, key },
      groups: join(root, 'groups'),
    })
  })
  afterAll(async () => {
    process.kill(launcher.pid, 'SIGKILL')
    await launcher.ended
    rmSync(root, { recursive: true, force: true })
  })
  beforeEach(() => {
    dir = mkdtempSync(join(root, 't'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const owner = (path: string) => {
    const { uid, gid, mode } = statSync(path)
    return [uid, gid, (mode & 0o7777).toString(8)]
  }
  const ours = (name: string, text = 'x') => {
    const path = join(dir, name)
    writeFileSync(path, text, { mode: 0o600 })
    chownSync(path, OURS, OURS)
    return path
  }
  const toGuest: Shape = { kind: 'guest-file', uid: GUEST }

  describe.each(['own', 'ownInPool'] as const)('%s', (verb) => {
    const give = (path: string, as: Shape) =>
      verb === 'own'
        ? launcher.acts.own({ path, as, sync: true })
        : launcher.acts.ownInPool(
            { path, as, sync: true },
            createPoolChild(() => 'p'),
          )

    test('hands a file of the dashboard’s to a guest and back', async () => {
      const path = ours('disk')
      await give(path, toGuest)
      expect(owner(path)).toEqual([GUEST, OURS, '660'])
      await give(path, { kind: 'dashboard-file' })
      expect(owner(path)).toEqual([OURS, OURS, '600'])
    })

    test('leaves alone what is root’s or anybody else’s, by whatever name it is reached', async () => {
      const secret = join(dir, 'secret')
      writeFileSync(secret, 'x', { mode: 0o600 })
      const other = join(dir, 'other')
      writeFileSync(other, 'x', { mode: 0o644 })
      chownSync(other, 1234, 1234)
      mkdirSync(join(dir, 'real'))
      writeFileSync(join(dir, 'real/secret'), 'x', { mode: 0o600 })
      symlinkSync(join(dir, 'real'), join(dir, 'way'))
      symlinkSync(secret, join(dir, 'link'))
      linkSync(secret, join(dir, 'second'))
      for (const name of ['secret', 'other', 'way/secret', 'link', 'second']) {
        await expect(give(join(dir, name), toGuest), name).rejects.toThrow()
      }
      await expect(give(join(dir, 'real'), { kind: 'guest-dir', uid: GUEST })).rejects.toThrow()
      for (const name of ['secret', 'real/secret', 'real']) expect(owner(join(dir, name))[0], name).toBe(0)
      expect(owner(other)).toEqual([1234, 1234, '644'])
    })

    test('gives to nobody but guests, their readers and the dashboard', async () => {
      const path = ours('disk')
      for (const as of [
        { kind: 'guest-file', uid: 1234 },
        { kind: 'guest-file', uid: OURS },
        { kind: 'readers-file', readersGid: 4, holder: null },
        { kind: 'readers-file', readersGid: READERS, holder: 1000 },
        { kind: 'readers-shared', readersGid: 1000 },
      ] as const)
        await expect(give(path, as), JSON.stringify(as)).rejects.toThrow(/refuses/)
      expect(owner(path)).toEqual([OURS, OURS, '600'])
    })
  })

  test('starts nothing that is not a guest’s user without any privilege', async () => {
    const log = join(dir, 'log')
    createLog(log)
    chownSync(log, OURS, OURS)
    const user = [`--reuid=${GUEST}`, `--regid=${GUEST}`, `--groups=${READERS}`]
    const locks = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all']
    const start = (...argv: string[]) => launcher.acts.launch({ argv, log })
    for (const argv of [
      ['/bin/sh', '-c', ':'],
      [SETPRIV, '--', '/bin/sh', '-c', ':'],
      [SETPRIV, ...user, '--', '/bin/true'],
      [SETPRIV, ...user, ...locks.slice(1), '--', '/bin/true'],
      [SETPRIV, ...user, ...locks, '--ambient-caps=+all', '--', '/bin/true'],
      [SETPRIV, ...user, ...locks, '--reuid=0', '--', '/bin/true'],
      [SETPRIV, '--reuid=0', ...user.slice(1), ...locks, '--', '/bin/true'],
      [SETPRIV, `--reuid=${OURS}`, `--regid=${OURS}`, '--clear-groups', ...locks, '--', '/bin/true'],
      [SETPRIV, ...user.slice(0, 2), '--groups=0', ...locks, '--', '/bin/true'],
      [SETPRIV, `--reuid=0x${GUEST.toString(16)}`, ...user.slice(1), ...locks, '--', '/bin/true'],
      [SETPRIV, ...user.slice(0, 2), ...locks, '--', '/bin/true'],
      [SETPRIV, ...user, ...locks, '/bin/true'],
      [join(dir, 'setpriv'), ...user, ...locks, '--', '/bin/true'],
    ])
      await expect(start(...argv), argv.join(' ')).rejects.toThrow(/refuses/)
    const said = await start(SETPRIV, ...user, ...locks, '--', '/bin/sh', '-c', 'cat /proc/self/status >&2; exit 7')
    expect(await said.exited).toEqual({ code: 7, signal: null })
    const status = readFileSync(log, 'utf8')
    expect(status).toMatch(new RegExp(`^Uid:\t${GUEST}\t${GUEST}\t${GUEST}\t${GUEST}$`, 'm'))
    expect(status).toMatch(/^CapBnd:\t0+$/m)
    // What it writes to is the dashboard's own.
    const foreign = join(dir, 'foreign')
    writeFileSync(foreign, '')
    const argv = [SETPRIV, ...user, ...locks, '--', '/bin/sh', '-c', 'echo in >&2']
    await expect(launcher.acts.launch({ argv, log: foreign })).rejects.toThrow()
    expect(readFileSync(foreign, 'utf8')).toBe('')
  })

  test('signals, binds and moves guests alone, and into their own groups', async () => {
    const vmId = '01890a5d-ac96-774b-bcce-b302099a8057'
    const child = spawn('/bin/sh', ['-c', 'sleep 60; :', 'sh', '-uuid', vmId], { stdio: 'ignore' })
    const pid = child.pid ?? 0
    await expect.poll(() => readProcStat(pid)?.state).toBe('S')
    const startTime = readProcStat(pid)?.startTime ?? 0
    const target = { kind: 'qemu' as const, vmId }
    await expect(launcher.acts.signal({ pid, startTime, target, signal: 'SIGKILL' })).rejects.toThrow(/no guest’s/)
    await expect(launcher.acts.pin({ pid, startTime, vmId, tid: pid, cpus: '0' })).rejects.toThrow(/no guest’s/)
    const group = join(root, 'groups', vmId)
    mkdirSync(group, { recursive: true })
    writeFileSync(join(group, 'cgroup.procs'), '')
    await expect(launcher.acts.enclose({ dir: group, pid })).rejects.toThrow(/no guest’s/)
    for (const dir of [root, join(root, 'groups'), join(root, 'groups/..', vmId), join(group, vmId)])
      await expect(launcher.acts.enclose({ dir, pid }), dir).rejects.toThrow()
    expect(readFileSync(join(group, 'cgroup.procs'), 'utf8')).toBe('')
    expect(isAlive({ pid, startTime })).toBe(true)
    child.kill('SIGKILL')
    const user = { uid: 0, gid: 0, groups: [] }
    const tap = { card: 'c', name: 'gdtest0', bridge: 'br0', multiQueue: false, mtu: null, rateLimit: null }
    await expect(launcher.acts.makeTap({ tap, user })).rejects.toThrow()
    await expect(launcher.acts.makeTap({ tap, user: null })).rejects.toThrow(/refuses/)
    await expect(launcher.acts.removeTap({ name: 'eth0' })).rejects.toThrow()
  })

  test('does each verb for a guest, and goes on after one that fails', async () => {
    const vmId = '01890a5d-ac96-774b-bcce-b302099a8059'
    const log = ours('guest.log', '')
    const user = [`--reuid=${GUEST}`, `--regid=${GUEST}`, `--groups=${READERS}`]
    const locks = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--']
    const argv = [SETPRIV, ...user, ...locks, '/bin/sh', '-c', 'sleep 60; :', 'sh', '-uuid', vmId]
    const guest = await launcher.acts.launch({ argv, log })
    const { pid } = guest
    await expect.poll(() => [readProcStat(pid)?.state, readUid(pid)]).toEqual(['S', GUEST])
    const startTime = readProcStat(pid)?.startTime ?? 0
    expect(await launcher.acts.pin({ pid, startTime, vmId, tid: pid, cpus: '0' })).toBeNull()
    expect(readAllowedCpus(pid, pid)).toEqual([0])
    const group = join(root, 'groups', vmId)
    mkdirSync(group, { recursive: true })
    writeFileSync(join(group, 'cgroup.procs'), '')
    await launcher.acts.enclose({ dir: group, pid })
    expect(readFileSync(join(group, 'cgroup.procs'), 'utf8')).toBe(String(pid))
    const target = { kind: 'qemu' as const, vmId }
    expect(await launcher.acts.signal({ pid, startTime, target, signal: 'SIGKILL' })).toBe(true)
    expect(await guest.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await launcher.acts.signal({ pid, startTime, target, signal: 'SIGKILL' })).toBe(false)

    await launcher.acts.makeVirtiofsdLocks()
    expect(owner('/run/virtiofsd')).toEqual([0, 0, '1777'])
    const lock = virtiofsdLock(join(dir, 'fs.sock'))
    writeFileSync(lock, '')
    chownSync(lock, GUEST, GUEST)
    await launcher.acts.removeVirtiofsdLock({ socket: join(dir, 'fs.sock') })
    expect(existsSync(lock)).toBe(false)
    expect(await launcher.acts.canGuestsRead({ path: '/etc/passwd', readersGid: READERS })).toBe(true)
    expect(await launcher.acts.canGuestsRead({ path: '/etc/shadow', readersGid: READERS })).toBe(false)
    expect(await launcher.acts.authenticate({ service: 'login', name: 'nobody-of-this-name', password: 'x' })).toBe(
      false,
    )
    const tap = { card: 'c', name: 'gdlaunch0', bridge: 'gd-no-bridge', multiQueue: false, mtu: null, rateLimit: null }
    await expect(
      launcher.acts.makeTap({ tap, user: { uid: GUEST, gid: GUEST, groups: [READERS] } }),
    ).rejects.toMatchObject({ name: 'NetworkFault', summary: expect.any(String) })
    await launcher.acts
      .limitTap({ name: 'gdlaunch0', limit: null })
      .catch((error: Error) => expect(error.name).toBe('NetworkFault'))
    await launcher.acts
      .removeTap({ name: 'gdlaunch0' })
      .catch((error: Error) => expect(error.name).toBe('NetworkFault'))
    await launcher.acts.own({ path: log, as: { kind: 'dashboard-file' }, sync: false })
  })

  test('reads the certificate that was named at its start, and no other file', async () => {
    const files = { cert: join(root, 'cert.pem'), key: join(root, 'key.pem') }
    expect(await launcher.acts.readCertificate(files)).toEqual({ cert: 'c', key: 'k' })
    await expect(launcher.acts.readCertificate({ ...files, cert: '/etc/shadow' })).rejects.toThrow(/refuses/)
    await expect(launcher.acts.readCertificate({ cert: files.key, key: files.cert })).rejects.toThrow(/refuses/)
  })

  test('opens the way to the dashboard’s directories alone', async () => {
    mkdirSync(join(dir, 'closed'), { mode: 0o700 })
    await expect(launcher.acts.openPath({ dir: join(dir, 'closed'), readersGid: READERS })).rejects.toThrow(/refuses/)
    const way = join(root, 'pools/to-closed')
    symlinkSync(join(dir, 'closed'), way)
    await expect(launcher.acts.openPath({ dir: way, readersGid: READERS })).rejects.toThrow(/leads elsewhere/)
    rmSync(way)
    expect(owner(join(dir, 'closed'))).toEqual([0, 0, '700'])
  })

  test('hands over an empty directory for a pool, or one that was a pool of root’s, and leaves any other', async () => {
    const child = createPoolChild(() => 'p')
    const pools = join(root, 'pools')
    const open = (path: string) => launcher.acts.openPool({ path, mark: MARK }, child)
    const make = (name: string, files: readonly string[] = []) => {
      mkdirSync(join(pools, name, 'layers'), { recursive: true })
      for (const file of files) writeFileSync(join(pools, name, file), 'x', { mode: 0o600 })
      return join(pools, name)
    }
    mkdirSync(join(pools, 'empty'))
    mkdirSync(join(pools, 'empty/lost+found'), { mode: 0o700 })
    await open(join(pools, 'empty'))
    expect(owner(join(pools, 'empty'))).toEqual([OURS, 0, '755'])
    expect(owner(join(pools, 'empty/lost+found'))[0]).toBe(0)

    const full = make('full', ['photo.jpg'])
    await open(full)
    expect([owner(full)[0], owner(join(full, 'photo.jpg'))[0]]).toEqual([0, 0])

    // Only root can have left a mark of root's.
    const before = make('before', [MARK, 'layers/a', 'layers/b'])
    chownSync(join(before, 'layers/b'), GUEST, OURS)
    symlinkSync('/etc/hostname', join(before, 'layers/link'))
    await open(before)
    expect(owner(before)[0]).toBe(OURS)
    for (const name of [MARK, 'layers', 'layers/a'])
      expect(owner(join(before, name)).slice(0, 2), name).toEqual([OURS, OURS])
    expect(owner(join(before, 'layers/b'))[0]).toBe(GUEST)
    expect(statSync('/etc/hostname').uid).toBe(0)

    const planted = make('planted', [MARK, 'layers/a'])
    chownSync(join(planted, MARK), OURS, OURS)
    await open(planted)
    expect([owner(planted)[0], owner(join(planted, 'layers/a'))[0]]).toEqual([0, 0])

    mkdirSync(join(dir, 'outside'))
    symlinkSync(join(dir, 'outside'), join(pools, 'way'))
    await open(join(pools, 'way'))
    await expect(open(join(dir, 'outside'))).rejects.toThrow(/refuses/)
    expect(owner(join(dir, 'outside'))[0]).toBe(0)
  })

  test('says of a failure what it was, in the words and codes that callers look for', async () => {
    const as: Shape = { kind: 'dashboard-file' }
    await expect(launcher.acts.own({ path: join(dir, 'none'), as, sync: false })).rejects.toMatchObject({
      code: 'ENOENT',
    })
    const path = join(dir, 'folder')
    mkdirSync(path)
    await expect(launcher.acts.own({ path, as, sync: false })).rejects.toMatchObject({ name: 'UnsafeFileError' })
    const child = createPoolChild(() => 'p')
    await expect(launcher.acts.ownInPool({ path, as, sync: false }, child)).rejects.toMatchObject({
      name: 'PoolActError',
    })
    await expect(launcher.acts.own({ path: `${dir}/../x`, as, sync: false })).rejects.toThrow(/No steps back/)
  })

  test('ends when the dashboard has gone', async () => {
    const settings = { dataDir: '/x', runDir: '/y', poolDirs: [], certificate: null, groups: null }
    const script = `import { startLauncher } from ${JSON.stringify(join(import.meta.dirname, 'client.ts'))}
      const { pid, acts } = startLauncher(${JSON.stringify(settings)})
      await acts.own({ path: '/nowhere', as: { kind: 'dashboard-file' }, sync: false }).catch(() => {})
      console.log(pid); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      cwd: join(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const pid = await new Promise<number>((resolve) =>
      child.stdout.once('data', (data) => resolve(Number(String(data)))),
    )
    const startTime = readProcStat(pid)?.startTime ?? -1
    expect(isAlive({ pid, startTime })).toBe(true)
    child.kill('SIGKILL')
    await expect.poll(() => isAlive({ pid, startTime }), { timeout: 10_000 }).toBe(false)
  })
})
