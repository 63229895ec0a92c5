import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { poweroffRom, serialRom } from './testing/halt-rom.ts'
import { isGone, known, sleep, started, until, untilState } from './testing/harness.ts'
import { type GuestOptions, type Lab, newVmId, openLab } from './testing/lab.ts'
import type { Supervisor, VmRuntime } from './types.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

describe('power', () => {
  test('a start ends in a running guest of which the facts are read from QEMU', async () => {
    const { s, vmId, pid } = await started(lab)
    const runtime = s.runtime(vmId)
    expect(runtime).toMatchObject({ state: 'running', runState: 'running', accelerator: { kind: 'tcg' } })
    expect(runtime.live).toMatchObject({ pid, machine: 'pc-q35-7.2', vcpus: 1, memoryMiB: 16, uid: 0 })
    expect(runtime.live?.qemuVersion).toMatch(/^\d+\.\d+\.\d+$/)
    expect(runtime.launchedSpec?.name).toBe('test')
    expect(runtime.launchedPlan?.options.length).toBeGreaterThan(5)
    expect((await stat(vmRunPaths(lab.runDir, vmId).dir)).mode & 0o777).toBe(0o700)
  })
  test('pause, resume and reset do what they say, and changes are numbered without a gap', async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const seen: VmRuntime[] = []
    s.onChange((_, runtime) => seen.push(runtime))
    const prepared = await lab.prepare(vmId)
    await s.start(vmId, 'ann', async () => prepared)
    expect(await s.pause(vmId, 'ann')).toMatchObject({ state: 'paused', runState: 'paused' })
    await expect(s.pause(vmId, 'ann')).rejects.toMatchObject({ code: 'wrong_state' })
    expect(await s.reset(vmId, 'ann')).toMatchObject({ state: 'paused' })
    expect(await s.resume(vmId, 'ann')).toMatchObject({ state: 'running' })
    expect(await s.poweroff(vmId, 'bob')).toMatchObject({ state: 'off', live: null })
    const states = seen.map((r) => r.state).filter((state, i, all) => state !== all[i - 1])
    expect(states).toEqual(['starting', 'running', 'paused', 'running', 'stopping', 'off'])
    expect(seen.map((r) => r.version)).toEqual(seen.map((_, index) => (seen[0]?.version ?? 0) + index))
  })
  test('power is cut within a moment, its maker is on record, and nothing is left behind', async () => {
    const { s, vmId, pid } = await started(lab)
    const begun = performance.now()
    const { lastExit } = await s.poweroff(vmId, 'bob')
    expect(performance.now() - begun).toBeLessThan(500)
    expect(lastExit).toMatchObject({ kind: 'operator', by: 'bob', code: 'none' })
    expect(isGone(pid)).toBe(true)
    await s.detach()
    expect(existsSync(vmRunPaths(lab.runDir, vmId).dir)).toBe(false)
  })
  test('of many starts at once one begins, and there is one process', async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const prepared = await lab.prepare(vmId)
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => s.start(vmId, 'ann', async () => prepared)),
    )
    expect(results.filter((r) => r.status === 'fulfilled')).toHaveLength(1)
    for (const r of results) if (r.status === 'rejected') expect(r.reason).toMatchObject({ code: 'wrong_state' })
  })
  test('a start can be cancelled by cutting the power, and the next one works', async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const prepared = await lab.prepare(vmId)
    const start = s.start(vmId, 'ann', async () => prepared)
    const refused = expect(start).rejects.toMatchObject({ code: 'conflict' })
    await sleep(10)
    expect((await s.poweroff(vmId, 'bob')).state).toBe('off')
    await refused
    expect((await s.start(vmId, 'ann', async () => prepared)).state).toBe('running')
  })
  test('a preparation that hangs does not keep the power from being cut', async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const refused = expect(s.start(vmId, 'ann', () => new Promise(() => {}))).rejects.toMatchObject({
      code: 'conflict',
    })
    await sleep(10)
    expect((await s.poweroff(vmId, 'bob')).state).toBe('off')
    await refused
  })
  test('a preparation that is refused leaves the VM off with the same error', async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const refusal = Object.assign(new Error('no'), { code: 'x' })
    await expect(s.start(vmId, 'ann', () => Promise.reject(refusal))).rejects.toMatchObject({ cause: refusal })
    expect(s.runtime(vmId)).toMatchObject({ state: 'off', lastExit: null })
  })
  test('a guest that ignores the shutdown request goes on running, and power can be cut while it is awaited (F43)', async () => {
    const s = lab.supervisor({ shutdownPatienceMs: 300 })
    const vmId = newVmId()
    s.register(vmId)
    const prepared = await lab.prepare(vmId)
    await s.start(vmId, 'ann', async () => prepared)
    expect(await s.shutdown(vmId, 'ann')).toMatchObject({ state: 'stopping', detail: expect.stringContaining('ann') })
    expect((await s.shutdown(vmId, 'bob')).state).toBe('stopping')
    const back = await untilState(s, vmId, 'running', 2000)
    expect(back.detail).toContain('did not react')
    await s.shutdown(vmId, 'ann')
    expect((await s.reset(vmId, 'ann')).state).toBe('running')
    await s.shutdown(vmId, 'ann')
    expect((await s.poweroff(vmId, 'bob')).lastExit).toMatchObject({ kind: 'operator', by: 'bob' })
  })
  test('a guest that powers itself off is off by its own doing, and its process is gone', async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const prepared = await lab.prepare(vmId, { rom: poweroffRom() })
    const { live } = await s.start(vmId, 'ann', async () => prepared)
    const off = await untilState(s, vmId, 'off', 5000)
    expect(off.lastExit).toMatchObject({ kind: 'guest-shutdown', code: 'none', by: null })
    expect(live === null || isGone(live.pid)).toBe(true)
  })
  test('nothing the guest says on its serial console is lost, from the first byte on', async () => {
    const text = 'first words of a guest\r\n'
    const { s, vmId } = await started(lab, { rom: serialRom(text) })
    const said = () => Buffer.from(s.serialHub(vmId)?.history().head ?? []).toString()
    for (let i = 0; i < 100 && said().length < text.length; i += 1) await sleep(20)
    expect(said()).toBe(text)
  })
  test('the screen is a PNG, taken once for many who ask at once', async () => {
    const { s, vmId } = await started(lab, { display: true })
    const [a, b] = await Promise.all([s.screenshot(vmId), s.screenshot(vmId)])
    expect(a?.subarray(1, 4).toString()).toBe('PNG')
    expect(b).toBe(a)
    expect(existsSync(vmRunPaths(lab.runDir, vmId).screenshot)).toBe(false)
    expect(s.vncSocket(vmId)).toBe(vmRunPaths(lab.runDir, vmId).vnc)
  })
  test('a VM without a display has no picture, and says why', async () => {
    const { s, vmId } = await started(lab)
    await expect(s.screenshot(vmId)).rejects.toMatchObject({ code: 'wrong_state' })
  })
  test('live numbers come while somebody watches', async () => {
    const { s, vmId } = await started(lab)
    s.setInterest(true)
    const runtime = await until(s, vmId, (r) => r.live?.cpuLoad !== null && r.live !== null, 5000)
    expect(runtime.live?.residentMiB).toBeGreaterThan(5)
    expect(runtime.live?.cpuLoad).toBeLessThanOrEqual(1)
  })
})

describe('isolation', { skip: process.getuid?.() !== 0 }, () => {
  const uid = 61_234
  const user = { uid, gid: uid, groups: [] }
  const wrapper = [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${uid}`,
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
    '--',
  ]
  const shell = ['/bin/sh', '-c', 'umask 077; exec "$@"', 'sh']

  test('a guest runs as its own user, sees nothing but its run directory, and is adopted, pictured and stopped all the same', async () => {
    await chmod(lab.dir, 0o711)
    await chmod(lab.runDir, 0o711)
    const { s, vmId, pid } = await started(lab, { user, wrapper: [...wrapper, ...shell], display: true })
    const paths = vmRunPaths(lab.runDir, vmId)
    expect(s.runtime(vmId).live?.uid).toBe(uid)
    const { dashboardGid: gid } = guestIdentity(true)
    expect(await stat(paths.dir)).toMatchObject({ uid, gid })
    for (const path of [paths.qmp, paths.vnc, paths.serial, paths.pidfile]) {
      const info = await stat(path)
      expect([info.uid, info.gid, info.mode & 0o077]).toEqual([uid, gid, 0])
    }
    // What the dashboard believes on adoption, the guest's user can neither read nor write.
    expect(await stat(paths.launch)).toMatchObject({ uid: 0 })
    expect((await stat(paths.launch)).mode & 0o077).toBe(0)
    expect((await s.screenshot(vmId)).length).toBeGreaterThan(100)
    await s.detach()
    const next = lab.supervisor()
    expect((await next.adoptAll(known(vmId))).adopted).toEqual([vmId])
    expect((await next.screenshot(vmId)).length).toBeGreaterThan(100)
    await next.poweroff(vmId, 'bob')
    expect(isGone(pid)).toBe(true)
  })
  test('a link planted where the screenshot or the record belongs is not followed', async () => {
    const { s, vmId } = await started(lab, { display: true })
    const paths = vmRunPaths(lab.runDir, vmId)
    const secret = join(lab.dir, 'secret')
    await writeFile(secret, 'precious')
    await symlink(secret, paths.screenshot)
    expect((await s.screenshot(vmId)).toString('latin1')).not.toContain('precious')
    expect(await readFile(secret, 'utf8')).toBe('precious')
    await rm(paths.stderr)
    await symlink(secret, paths.stderr)
    await s.poweroff(vmId, 'ann')
    expect(s.runtime(vmId).lastExit?.stderrTail).toBe('')
    await s.detach()
    expect(await readFile(secret, 'utf8')).toBe('precious')
  })
  test('a record that somebody else wrote is not believed', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    const paths = vmRunPaths(lab.runDir, vmId)
    await chown(paths.launch, uid, uid)
    const next = lab.supervisor()
    expect((await next.adoptAll(known(vmId))).adopted).toEqual([vmId])
    expect(next.runtime(vmId)).toMatchObject({ live: { pid }, launchedSpec: null, launchedPlan: null })
  })
})

describe('trouble', () => {
  test.each(['SIGKILL', 'SIGSEGV'] as const)(
    '%s from outside is a crash within two seconds, with the signal (F17)',
    async (signal) => {
      const { s, vmId, pid } = await started(lab)
      const begun = performance.now()
      process.kill(pid, signal)
      const { lastExit } = await untilState(s, vmId, 'crashed', 2000)
      expect(performance.now() - begun).toBeLessThan(2000)
      expect(lastExit).toMatchObject({ kind: 'crash', code: 'signal', signal })
      const prepared = await lab.prepare(vmId)
      expect((await s.start(vmId, 'ann', async () => prepared)).state).toBe('running')
    },
  )
  test('SIGSYS is told as a kill by the sandbox (F18)', async () => {
    const { s, vmId, pid } = await started(lab)
    process.kill(pid, 'SIGSYS')
    expect((await untilState(s, vmId, 'crashed', 2000)).lastExit?.code).toBe('sandbox-kill')
  })
  test('SIGTERM from outside is an end, not a crash', async () => {
    const { s, vmId, pid } = await started(lab)
    process.kill(pid, 'SIGTERM')
    expect((await untilState(s, vmId, 'off', 3000)).lastExit).toMatchObject({ kind: 'host-signal', by: null })
  })
  test('a QEMU that stops answering is unresponsive after five seconds, can be cut off, and others are not held up (F19)', async () => {
    const { s, vmId, pid } = await started(lab)
    const other = newVmId()
    s.register(other)
    const prepared = await lab.prepare(other)
    process.kill(pid, 'SIGSTOP')
    const begun = performance.now()
    const paused = expect(s.pause(vmId, 'ann')).rejects.toMatchObject({ code: 'unresponsive' })
    expect((await s.start(other, 'ann', async () => prepared)).state).toBe('running')
    expect(performance.now() - begun).toBeLessThan(2000)
    await paused
    expect(performance.now() - begun).toBeLessThan(6000)
    expect(s.runtime(vmId)).toMatchObject({ state: 'unmanageable', detail: expect.stringContaining('5 seconds') })
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({ code: 'wrong_state' })
    expect((await s.poweroff(vmId, 'bob')).lastExit).toMatchObject({ kind: 'operator', by: 'bob' })
    expect(isGone(pid)).toBe(true)
  })
  test('a QEMU that stops answering is found out although nobody asks it anything', async () => {
    const { s, vmId, pid } = await started(lab)
    s.setInterest(true)
    process.kill(pid, 'SIGSTOP')
    await untilState(s, vmId, 'unmanageable', 13_000)
    process.kill(pid, 'SIGCONT')
    await untilState(s, vmId, 'running', 10_000)
  })
  test('a QEMU that answers again is managed again', async () => {
    const { s, vmId, pid } = await started(lab)
    process.kill(pid, 'SIGSTOP')
    await expect(s.pause(vmId, 'ann')).rejects.toMatchObject({ code: 'unresponsive' })
    process.kill(pid, 'SIGCONT')
    // The pause was on its way and was carried out late: what counts is what QEMU says now.
    expect((await until(s, vmId, (r) => r.state !== 'unmanageable')).state).toBe('paused')
    expect((await s.resume(vmId, 'ann')).state).toBe('running')
  })
  test('a guest that KVM cannot run is a crash with advice, not silently running (F36)', {
    skip: !existsSync('/dev/kvm') || !existsSync('/sys/module/kvm_pvm') || !existsSync('/usr/share/OVMF/OVMF_CODE.fd'),
  }, async () => {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    // The last -m counts; UEFI firmware needs more than the few bytes of ours.
    const prepared = await lab.prepare(vmId, {
      accelerator: 'kvm',
      firmware: '/usr/share/ovmf/OVMF.fd',
      extra: [['-m', '256']],
    })
    await s.start(vmId, 'ann', async () => prepared)
    const { lastExit } = await untilState(s, vmId, 'crashed', 10_000)
    expect(lastExit).toMatchObject({ kind: 'crash', code: 'kvm-internal-error' })
    expect(lastExit?.advice).toContain('TCG')
  })
})

describe('a start that fails is explained', () => {
  async function failing(
    options: GuestOptions,
  ): Promise<{ error: unknown; exit: VmExit | null; s: Supervisor; vmId: string }> {
    const s = lab.supervisor()
    const vmId = newVmId()
    s.register(vmId)
    const prepared = await lab.prepare(vmId, options)
    const error = await s
      .start(vmId, 'ann', async () => prepared)
      .then(
        () => null,
        (reason: unknown) => reason,
      )
    expect(s.runtime(vmId).state).toBe('off')
    await s.detach()
    expect(existsSync(vmRunPaths(lab.runDir, vmId).dir)).toBe(false)
    return { error, exit: s.runtime(vmId).lastExit, s, vmId }
  }
  const disk = (path: string) => [
    '-blockdev',
    `{"driver":"qcow2","node-name":"d0","backing":null,"file":{"driver":"file","filename":"${path}","locking":"on"}}`,
  ]

  test('an image that is missing, before QEMU is even asked (F30)', async () => {
    const path = join(lab.dir, 'gone.qcow2')
    const { error, exit } = await failing({ files: new Map([[path, 'the disk "disk0"']]) })
    expect(exit).toMatchObject({ kind: 'launch-failure', code: 'image-missing', exitCode: null })
    expect(error).toMatchObject({ code: 'image_missing', message: expect.stringContaining('the disk "disk0"') })
    expect((error as Error).message).not.toContain(lab.dir)
  })
  test('an image that is damaged', async () => {
    const path = join(lab.dir, 'bad.qcow2')
    await writeFile(path, 'garbage')
    const { error, exit } = await failing({ extra: [disk(path)], files: new Map([[path, 'the disk "disk0"']]) })
    expect(error).toMatchObject({ code: 'launch_failed', message: expect.stringContaining('damaged') })
    expect(exit).toMatchObject({ kind: 'launch-failure', exitCode: 1 })
    expect(JSON.stringify(error) + JSON.stringify(exit)).not.toContain(lab.dir)
  })
  test('an image that another QEMU has, seen before the start and by QEMU itself (F32)', async () => {
    const path = join(lab.dir, 'disk.qcow2')
    const [code] = await once(spawn('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1M']), 'exit')
    expect(code).toBe(0)
    const device = ['-device', '{"driver":"virtio-blk-pci","drive":"d0","id":"disk0"}']
    const { s, vmId } = await started(lab, { extra: [disk(path), device] })
    const files = new Map([[path, 'the disk "disk0"']])
    expect((await failing({ extra: [disk(path), device], files })).error).toMatchObject({ code: 'image_in_use' })
    expect((await failing({ extra: [disk(path), device] })).error).toMatchObject({ code: 'image_in_use' })
    expect(s.runtime(vmId).state).toBe('running')
  })
  test('a host port that is taken (N04, F33)', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const netdev = `{"type":"user","id":"n0","hostfwd":[{"str":"tcp:127.0.0.1:${port}-:22"}]}`
    const { error, exit } = await failing({ extra: [['-netdev', netdev]] })
    server.close()
    expect(error).toMatchObject({ code: 'port_in_use', message: expect.stringContaining(String(port)) })
    expect(exit).toMatchObject({ kind: 'launch-failure', code: 'port-in-use' })
  })
  test('a QEMU that is not installed, behind a wrapper and without one (F39)', async () => {
    expect((await failing({ binary: '/nonexistent/qemu' })).exit?.code).toBe('qemu-missing')
    expect((await failing({ wrapper: ['/nonexistent/wrapper'] })).exit?.code).toBe('qemu-missing')
  })
  test('an option QEMU does not know', async () => {
    const { error, exit } = await failing({ extra: [['-frobnicate']] })
    expect(error).toMatchObject({ code: 'launch_failed' })
    expect(exit).toMatchObject({ code: 'bad-option', exitCode: 1, stderrTail: expect.stringContaining('-frobnicate') })
  })
})
