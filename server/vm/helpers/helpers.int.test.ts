import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { vmRunPaths } from '#server/paths.ts'
import { readAllowedCpus, readOnlineCpus } from '#server/platform/cpus.ts'
import { readUid } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { isGone, known, sleep, until, untilState } from '../testing/harness.ts'
import { type Lab, newVmId, openLab } from '../testing/lab.ts'
import { tpmState, withTpm } from '../testing/tpm.ts'

const isRoot = process.getuid?.() === 0
const TROUBLE = /^Its TPM has stopped: .*SIGKILL.* shut down and started again\.$/

let lab: Lab
const vmIds = new Set<string>()
beforeEach(async () => {
  lab = await openLab()
})
afterEach(async () => {
  await lab.close()
  // Each VM's swtpm has ended with its QEMU; whatever a failed test left has not.
  for (const vmId of vmIds) for (const pid of await swtpmsOf(vmId)) process.kill(pid, 'SIGKILL')
  vmIds.clear()
})

const fresh = () => {
  const vmId = newVmId()
  vmIds.add(vmId)
  return vmId
}

async function swtpmsOf(vmId: string): Promise<number[]> {
  const pids: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const line = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')
    if (line.includes('swtpm\0socket') && line.includes(vmId) && !isGone(Number(entry))) pids.push(Number(entry))
  }
  return pids
}
async function swtpmOf(vmId: string): Promise<number> {
  const [pid] = await swtpmsOf(vmId)
  if (pid === undefined) throw new Error('no swtpm')
  return pid
}
async function gone(pid: number): Promise<void> {
  for (let i = 0; i < 500 && !isGone(pid); i += 1) await sleep(20)
  expect(isGone(pid)).toBe(true)
}

describe('a TPM', () => {
  test('is there before QEMU, ends with it, and keeps its state for the next start', async () => {
    const s = lab.supervisor()
    const vmId = fresh()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab)
    expect((await s.start(vmId, 'ann', async () => prepared)).state).toBe('running')
    expect((await stat(tpmState(lab, vmId))).mode & 0o777).toBe(0o700)
    const state = join(tpmState(lab, vmId), 'tpm2-00.permall')
    const first = await readFile(state)
    expect(first.length).toBeGreaterThan(500)
    const record = JSON.parse(await readFile(vmRunPaths(lab.runDir, vmId).launch, 'utf8'))
    const pid = await swtpmOf(vmId)
    expect(record.helpers).toMatchObject([{ id: 'tpm0', pid }])
    await s.poweroff(vmId, 'bob')
    await gone(pid)
    expect((await s.start(vmId, 'ann', async () => prepared)).state).toBe('running')
    expect(await swtpmOf(vmId)).not.toBe(pid)
    // The header holds sizes; the seeds behind it are made once in a TPM's life.
    expect((await readFile(state)).subarray(100, 400)).toEqual(first.subarray(100, 400))
    await s.poweroff(vmId, 'bob')
  })
  test.skipIf(!isRoot)(
    "runs as the VM's own user, in a directory only he and the dashboard’s group can read",
    async () => {
      const s = lab.supervisor()
      const vmId = fresh()
      s.register(vmId)
      const user = { uid: 65_533, gid: 65_533, groups: [] }
      await chmod(lab.dir, 0o711)
      const bare = await lab.prepare(vmId, {
        user,
        wrapper: ['setpriv', '--reuid=65533', '--regid=65533', '--clear-groups', '--no-new-privs', '--'],
      })
      const prepared = withTpm(bare, lab)
      await s.start(vmId, 'ann', async () => prepared)
      expect(readUid(await swtpmOf(vmId))).toBe(user.uid)
      expect(await stat(tpmState(lab, vmId))).toMatchObject({ uid: user.uid, gid: guestIdentity(true).dashboardGid })
      await s.poweroff(vmId, 'bob')
    },
  )
  test('that dies under its guest is reported within seconds, and the guest runs on (F41)', async () => {
    const s = lab.supervisor()
    const vmId = fresh()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab)
    await s.start(vmId, 'ann', async () => prepared)
    process.kill(await swtpmOf(vmId), 'SIGKILL')
    const runtime = await until(s, vmId, (r) => r.troubles.length > 0)
    expect(runtime.state).toBe('running')
    expect(runtime.detail).toMatch(TROUBLE)
    expect((await s.poweroff(vmId, 'bob')).detail).toBeNull()
    expect((await s.start(vmId, 'ann', async () => prepared)).troubles).toEqual([])
    await s.poweroff(vmId, 'bob')
  })
  test('outlives a kill -9 of the dashboard, is taken over with its guest, watched, and ended with it', async () => {
    const vmId = fresh()
    await lab.prepare(vmId)
    const script = join(import.meta.dirname, '../testing/dashboard.ts')
    const child = spawn(process.execPath, [script, lab.dir, vmId, 'tpm'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const pid = await swtpmOf(vmId)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const first = lab.supervisor()
    await first.adoptAll(known(vmId))
    expect(first.runtime(vmId)).toMatchObject({ state: 'running', troubles: [] })
    expect(await swtpmOf(vmId)).toBe(pid)
    await first.detach()
    const second = lab.supervisor()
    await second.adoptAll(known(vmId))
    process.kill(pid, 'SIGKILL')
    const runtime = await until(second, vmId, (r) => r.troubles.length > 0)
    expect(runtime.detail).toMatch(/^Its TPM has stopped: it ended/)
    await second.poweroff(vmId, 'bob')
  })
  test('left behind by a QEMU that was killed with the dashboard is ended, and its lock is no obstacle (F42)', async () => {
    const vmId = fresh()
    const s = lab.supervisor()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab)
    const { live } = await s.start(vmId, 'ann', async () => prepared)
    const pid = await swtpmOf(vmId)
    // Stopped, it does not notice that QEMU goes; so it holds its lock on.
    process.kill(pid, 'SIGSTOP')
    await s.detach()
    process.kill(live?.pid ?? 0, 'SIGKILL')
    await gone(live?.pid ?? 0)
    const next = lab.supervisor()
    expect(await next.adoptAll(known(vmId))).toMatchObject({ ended: [vmId] })
    await gone(pid)
    expect((await next.start(vmId, 'ann', async () => prepared)).state).toBe('running')
    await next.poweroff(vmId, 'bob')
  })
  test('whose state another program holds is refused with the reason', async () => {
    const vmId = fresh()
    const s = lab.supervisor()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab)
    const dir = tpmState(lab, vmId)
    await mkdir(dir)
    await writeFile(join(dir, '.lock'), '')
    // Python is not everywhere; swtpm itself takes the lock when it is told to initialise.
    const other = spawn('swtpm', [
      'socket',
      '--tpm2',
      '--tpmstate',
      `dir=${dir}`,
      '--flags',
      'startup-clear',
      ...FOREIGN(lab),
    ])
    for (let i = 0; i < 500 && !(await holdsLock(join(dir, '.lock'))); i += 1) await sleep(20)
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({
      message: expect.stringMatching(/^Another program is using this VM's TPM state\. /),
      details: { reason: 'helper-failed' },
    })
    expect(s.runtime(vmId).state).toBe('off')
    expect(isGone(other.pid ?? 0)).toBe(false)
    other.kill('SIGKILL')
    await once(other, 'exit')
    expect((await s.start(vmId, 'ann', async () => prepared)).state).toBe('running')
    await s.poweroff(vmId, 'bob')
  })
  test('without its program is refused with the package to install, and nothing is left', async () => {
    const vmId = fresh()
    const s = lab.supervisor()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab, '/nonexistent/swtpm')
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({
      message: 'swtpm, the program that serves the TPM, is not installed. Install swtpm, then start again.',
    })
    await untilState(s, vmId, 'off')
    expect(existsSync(vmRunPaths(lab.runDir, vmId).dir)).toBe(false)
  })
  test('with damaged state is refused with the reason', async () => {
    const vmId = fresh()
    const s = lab.supervisor()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab)
    await mkdir(tpmState(lab, vmId))
    await writeFile(join(tpmState(lab, vmId), 'tpm2-00.permall'), 'not a TPM')
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({
      message: expect.stringMatching(/^The TPM's stored state is damaged/),
    })
  })
  test('is gone when its guest could not be started', async () => {
    const vmId = fresh()
    const s = lab.supervisor()
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId, { extra: [['-frobnicate']] }), lab)
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({ code: 'launch_failed' })
    expect(await swtpmsOf(vmId)).toEqual([])
  })
})

const FOREIGN = (l: Lab) => [
  '--ctrl',
  `type=unixio,path=${join(l.dir, 'other.sock')}`,
  '--server',
  `type=unixio,path=${join(l.dir, 'other2.sock')}`,
]

async function holdsLock(path: string): Promise<boolean> {
  const { ino } = await stat(path)
  return (await readFile('/proc/locks', 'utf8')).includes(`:${ino} `)
}

describe('virtual CPUs', () => {
  test('run where the definition binds them, and nowhere when the host has no such CPU', async () => {
    const online = readOnlineCpus() ?? []
    const last = online.at(-1) ?? 0
    const s = lab.supervisor()
    const vmId = fresh()
    s.register(vmId)
    const prepared = await lab.prepare(vmId, { extra: [['-smp', '2']] })
    const pinned = { ...prepared, plan: { ...prepared.plan, pins: [{ vcpu: 1, hostCpus: `${last}` }] } }
    const { live } = await s.start(vmId, 'ann', async () => pinned)
    const pid = live?.pid ?? 0
    const allowed = (await readdir(`/proc/${pid}/task`)).map((tid) => readAllowedCpus(pid, Number(tid))?.join())
    expect(allowed.filter((list) => list === `${last}`).length).toBeGreaterThanOrEqual(1)
    if (online.length > 1) expect(allowed).toContain(online.join())
    await s.poweroff(vmId, 'bob')
    const wrong = { ...prepared, plan: { ...prepared.plan, pins: [{ vcpu: 0, hostCpus: '1000' }] } }
    await expect(s.start(vmId, 'ann', async () => wrong)).rejects.toMatchObject({
      message: expect.stringMatching(/^Virtual CPU 0 is to run on CPU 1000 of the host, which is not there/),
      details: { reason: 'host-resource' },
    })
  })
})

function canMakeTaps(): boolean {
  try {
    const steps = 'ip link add br0 type bridge && ip tuntap add dev gdprobe mode tap'
    execFileSync('unshare', ['--net', 'sh', '-c', steps], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe.skipIf(!canMakeTaps())('a tap', () => {
  test('comes and goes with its guest, with a start that fails, and with a QEMU killed beside the dashboard', () => {
    const script = join(import.meta.dirname, '../testing/taps.ts')
    const out = execFileSync('unshare', ['--net', process.execPath, script], { encoding: 'utf8', timeout: 100_000 })
    expect(JSON.parse(out)).toMatchObject({
      running: { taps: ['gdtest0'], master: 'br0' },
      failed: expect.stringMatching(/refused an option/),
      afterFailure: [],
      leftBehind: ['gdtest0'],
      ended: 1,
      afterAdoption: [],
    })
  })
})
