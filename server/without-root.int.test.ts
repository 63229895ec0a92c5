/** A dashboard that root has started: what it is afterwards, and what becomes of guests that a dashboard of root's has left. */
import { execFileSync } from 'node:child_process'
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { send } from '#server/http/test-rig.ts'
import { dashboardIds, whyStayRoot } from '#server/launcher/give-up-root.ts'
import { readUid } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { deck, dir, isRunning, type Run, ready, server, token } from '#server/testing/process-rig.ts'

const isRoot = process.getuid?.() === 0
const identity = guestIdentity(isRoot)
const OURS = identity.dashboardGid
/** For example a checkout in /root, whose files nobody else may read. */
const REASON = isRoot ? await whyStayRoot(dashboardIds(identity), join(import.meta.dirname, '..'), []) : 'not root'

const statusOf = (pid: number) =>
  Object.fromEntries(
    readFileSync(`/proc/${pid}/status`, 'utf8')
      .split('\n')
      .map((line) => line.split(':\t', 2) as [string, string]),
  )
const ofRoot = () => execFileSync('find', [join(dir, 'd'), join(dir, 'r'), '-uid', '0'], { encoding: 'utf8' }).trim()
const openFiles = (pid: number) =>
  readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return ''
    }
  })
/** Below those that ordinary users may take. */
async function freeLowPort(): Promise<number> {
  for (let port = 1023; port > 600; port -= 1) {
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
  throw new Error('no low port is free')
}
const launcherOf = (started: Run) => Number(/"launcher":(\d+)/.exec(started.err())?.[1])

test.skipIf(REASON !== null)(
  `a dashboard that root has started gives up root before it serves, a launcher does what is left to do as root, and either may end without a guest noticing${REASON === null ? '' : `: left out: ${REASON}`}`,
  { timeout: 300_000 },
  async () => {
    const headers = { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' }
    const call = async (port: number, method: string, path: string, body?: object) => {
      const answer = await send(port, method, `/api/v1${path}`, {
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
      })
      expect(answer.status, answer.text).toBeLessThan(300)
      return answer.json
    }
    mkdirSync(join(dir, 'pools/fast'), { recursive: true, mode: 0o755 })
    const env = { GUESTDECK_POOL_DIRS: join(dir, 'pools') }

    const before = server([], { ...env, GUESTDECK_LAUNCHER: 'off' })
    let port = await ready(before)
    expect(readUid(before.child.pid ?? 0)).toBe(0)
    expect((await call(port, 'GET', '/host')).isolation.summary).toContain('is root: GUESTDECK_LAUNCHER=off')
    const oldPool = await call(port, 'POST', '/pools', { name: 'fast', path: join(dir, 'pools/fast') })
    const vm = await call(port, 'POST', '/vms', {
      name: 'old',
      ...{ memoryMiB: 64, cpus: 1, accelerator: 'tcg' },
      disks: [
        { id: 'a', device: 'disk', sizeGiB: 1 },
        { id: 'b', device: 'disk', sizeGiB: 1, pool: oldPool.id },
      ],
    })
    const { pid: old } = (await call(port, 'POST', `/vms/${vm.id}/start`)).live
    before.child.kill('SIGTERM')
    expect(await before.ended).toBe(0)
    expect(ofRoot()).not.toBe('')

    const second = server([], env)
    port = await ready(second)
    const own = statusOf(second.child.pid ?? 0)
    const ids = `${OURS}\t${OURS}\t${OURS}\t${OURS}`
    expect(own).toMatchObject({ Uid: ids, Gid: ids, CapEff: '0000000000000000', CapPrm: '0000000000000000' })
    expect(own.Groups?.trim().split(' ')).not.toContain('0')
    expect((await call(port, 'GET', '/host')).isolation.summary).toContain(`The dashboard runs as user ${OURS}`)
    const launcher = launcherOf(second)
    expect(readUid(launcher)).toBe(0)
    expect(ofRoot()).toBe('')

    expect(await call(port, 'GET', `/vms/${vm.id}`)).toMatchObject({ state: 'running', live: { pid: old } })
    expect((await call(port, 'POST', `/vms/${vm.id}/poweroff`)).state).toBe('off')
    expect(isRunning(old)).toBe(false)
    const { pid } = (await call(port, 'POST', `/vms/${vm.id}/start`)).live
    expect(identity.isGuest(readUid(pid) ?? 0)).toBe(true)
    // Nothing of the launcher's reaches the guest.
    const sockets = openFiles(launcher).filter((file) => file.startsWith('socket:'))
    expect(sockets).not.toEqual([])
    expect(openFiles(pid).filter((file) => sockets.includes(file))).toEqual([])

    mkdirSync(join(dir, 'pools/second'), { mode: 0o755 })
    const pool = await call(port, 'POST', '/pools', { name: 'second', path: join(dir, 'pools/second') })
    const next = { name: 'new', memoryMiB: 64, cpus: 1, accelerator: 'tcg' }
    const made = await call(port, 'POST', '/vms', {
      ...next,
      disks: [{ id: 'a', device: 'disk', sizeGiB: 1, pool: pool.id }],
    })
    await call(port, 'POST', `/vms/${made.id}/start`)
    await call(port, 'POST', `/vms/${made.id}/poweroff`)
    await call(port, 'DELETE', `/vms/${made.id}`)

    process.kill(launcher, 'SIGKILL')
    expect(await second.ended).toBe(1)
    expect(second.err()).toContain('the launcher has ended')
    expect(isRunning(pid)).toBe(true)
    // Names that a dashboard that was taken over could have left for the root that starts the next one.
    const canary = join(dir, 'canary')
    writeFileSync(canary, 'untouched', { mode: 0o600 })
    for (const name of ['dashboard.lock.pid', 'state.db-journal', 'tls']) {
      rmSync(join(dir, 'd', name), { force: true })
      symlinkSync(canary, join(dir, 'd', name))
    }
    linkSync(canary, join(dir, 'd/second-name'))
    const planted = server([], env)
    expect(await planted.ended, planted.out()).toBe(1)
    await deck(['user', 'list']).ended
    expect([readFileSync(canary, 'utf8'), statSync(canary).uid]).toEqual(['untouched', 0])
    for (const name of ['dashboard.lock.pid', 'state.db-journal', 'tls', 'second-name']) rmSync(join(dir, 'd', name))
    const low = await freeLowPort()
    const third = server(['--port', String(low)], env)
    port = await ready(third)
    expect(port).toBe(low)
    expect(readUid(third.child.pid ?? 0)).toBe(OURS)
    expect(await call(port, 'GET', `/vms/${vm.id}`)).toMatchObject({ state: 'running', live: { pid } })
    expect(await deck(['user', 'list']).ended).toBe(0)
    const { accelerator } = await call(port, 'GET', `/vms/${vm.id}`)
    expect(accelerator.reason).toBeTruthy()
    const another = launcherOf(third)
    third.child.kill('SIGKILL')
    await third.ended
    await expect.poll(() => isRunning(another), { timeout: 10_000 }).toBe(false)
    expect(isRunning(pid)).toBe(true)

    // As an older release would: root can do it all.
    const fourth = server([], { ...env, GUESTDECK_LAUNCHER: 'off' })
    port = await ready(fourth)
    // What it was started with is believed, whichever of the two has written it.
    expect(await call(port, 'GET', `/vms/${vm.id}`)).toMatchObject({ state: 'running', live: { pid }, accelerator })
    expect((await call(port, 'POST', `/vms/${vm.id}/poweroff`)).state).toBe('off')
    await call(port, 'DELETE', `/vms/${vm.id}`)
  },
)
