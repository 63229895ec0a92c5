import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import { readProcStat } from '#server/platform/process.ts'
import { poweroffRom } from './testing/halt-rom.ts'
import { isGone, known, sleep, started, untilState } from './testing/harness.ts'
import { type Lab, newVmId, openLab } from './testing/lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

describe('without the dashboard', () => {
  function dashboard(vmId: string, ...more: string[]) {
    const script = join(import.meta.dirname, 'testing/dashboard.ts')
    return spawn(process.execPath, [script, lab.dir, vmId, ...more], { stdio: ['ignore', 'pipe', 'inherit'] })
  }
  async function runIn(child: ReturnType<typeof dashboard>): Promise<number> {
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    return (JSON.parse(line.toString()) as { pid: number }).pid
  }
  /** So that the lab's broom knows it. */
  const sweepable = (vmId: string) => lab.prepare(vmId)

  test('guests survive its kill -9 and are taken over with their consoles; nothing is started twice (F01)', async () => {
    const vmId = newVmId()
    await sweepable(vmId)
    const child = dashboard(vmId)
    const pid = await runIn(child)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const s = lab.supervisor()
    await sleep(50)
    const begun = performance.now()
    const foundAt = Date.now()
    const report = await s.adoptAll(known(vmId))
    expect(performance.now() - begun).toBeLessThan(1000)
    expect(Date.parse(s.runtime(vmId).since)).toBeLessThan(foundAt)
    expect(report).toEqual({ adopted: [vmId], ended: [], unmanageable: [], strangers: [] })
    expect(s.runtime(vmId)).toMatchObject({ state: 'running', live: { pid }, launchedSpec: { name: 'test' } })
    expect(s.serialHub(vmId)).not.toBeNull()
    const prepared = await lab.prepare(vmId)
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({ code: 'wrong_state' })
    expect((await s.pause(vmId, 'ann')).state).toBe('paused')
    const cut = performance.now()
    expect((await s.poweroff(vmId, 'bob')).lastExit).toMatchObject({ kind: 'operator', by: 'bob' })
    expect(performance.now() - cut).toBeLessThan(500)
    expect(isGone(pid)).toBe(true)
  })
  test('a Ctrl-C in its terminal does not reach the guests (F22)', async () => {
    const vmId = newVmId()
    await sweepable(vmId)
    const child = spawn(process.execPath, [join(import.meta.dirname, 'testing/dashboard.ts'), lab.dir, vmId], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    })
    const pid = await runIn(child as ReturnType<typeof dashboard>)
    process.kill(-(child.pid ?? 0), 'SIGINT')
    await once(child, 'exit')
    await sleep(200)
    expect(isGone(pid)).toBe(false)
    const s = lab.supervisor()
    expect((await s.adoptAll(known(vmId))).adopted).toEqual([vmId])
  })
  test('a QEMU whose pid was never recorded is found all the same, and let run (F03)', async () => {
    const vmId = newVmId()
    await sweepable(vmId)
    const child = dashboard(vmId, 'spawn-only')
    await once(child, 'exit')
    const s = lab.supervisor()
    expect((await s.adoptAll(known(vmId))).adopted).toEqual([vmId])
    expect(s.runtime(vmId)).toMatchObject({ state: 'running', runState: 'running' })
  })
  test('a second supervisor that was never told to adopt still does not start a guest twice (F03)', async () => {
    const { vmId, pid } = await started(lab)
    const s = lab.supervisor()
    s.register(vmId)
    const prepared = await lab.prepare(vmId)
    await expect(s.start(vmId, 'ann', async () => prepared)).rejects.toMatchObject({ code: 'conflict' })
    expect(s.runtime(vmId).state).toBe('off')
    expect(isGone(pid)).toBe(false)
    expect(existsSync(vmRunPaths(lab.runDir, vmId).qmp)).toBe(true)
  })
  test('letting go leaves guests and their sockets alone (F22)', async () => {
    const { s, vmId, pid } = await started(lab, { display: true })
    await s.detach()
    const paths = vmRunPaths(lab.runDir, vmId)
    for (const path of [paths.qmp, paths.qmpRescue, paths.vnc, paths.serial, paths.pidfile]) {
      expect(existsSync(path)).toBe(true)
    }
    expect(isGone(pid)).toBe(false)
    const next = lab.supervisor()
    expect((await next.adoptAll(known(vmId))).adopted).toEqual([vmId])
    expect((await next.screenshot(vmId)).length).toBeGreaterThan(100)
  })
  test('an adopted guest that dies is a crash within two seconds (F17)', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    const next = lab.supervisor()
    await next.adoptAll(known(vmId))
    process.kill(pid, 'SIGKILL')
    expect((await untilState(next, vmId, 'crashed', 2000)).lastExit).toMatchObject({ kind: 'crash' })
  })
  test('a guest that shut itself down meanwhile is off by its own doing, never crashed (F50)', async () => {
    const { s, vmId } = await started(lab)
    await s.detach()
    // A supervisor would end it at once; so this one is launched without, as if the dashboard had gone in between.
    const off = newVmId()
    const prepared = await lab.prepare(off, { rom: poweroffRom() })
    const { launch } = await import('./launch.ts')
    const { systemClock } = await import('#server/platform/clock.ts')
    const { readBootId } = await import('#server/platform/fs.ts')
    const { createSerialHub } = await import('#server/console/serial-hub.ts')
    const nothing = () => {}
    const { guest } = await launch(prepared, {
      paths: vmRunPaths(lab.runDir, off),
      by: 'ann',
      bootId: readBootId(),
      clock: systemClock,
      createSerialHub,
      listener: {
        onRunState: nothing,
        onEnding: nothing,
        onAgent: nothing,
        onDevice: nothing,
        onMonitorLost: nothing,
        onSilence: nothing,
      },
      surroundings: { onTroubles: nothing, warn: nothing },
      signal: new AbortController().signal,
    })
    for (let i = 0; i < 100 && (await guest.readRunState()) !== 'shutdown'; i += 1) await sleep(20)
    expect(guest.runState).toBe('shutdown')
    guest.release()
    const next = lab.supervisor()
    const report = await next.adoptAll(known(vmId, off))
    expect(report).toMatchObject({ adopted: [vmId], ended: [off] })
    expect(next.runtime(off)).toMatchObject({ state: 'off', lastExit: { kind: 'guest-shutdown' } })
  })
  test('a guest that died meanwhile is off, of unknown cause, and can be started', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    process.kill(pid, 'SIGKILL')
    for (let i = 0; i < 100 && !isGone(pid); i += 1) await sleep(10)
    const next = lab.supervisor()
    const exits: (VmExit | null)[] = []
    next.onChange((_, __, exited) => exits.push(exited))
    expect((await next.adoptAll(known(vmId))).ended).toEqual([vmId])
    expect(next.runtime(vmId)).toMatchObject({ state: 'off', lastExit: { kind: 'unknown' } })
    expect(exits).toEqual([expect.objectContaining({ kind: 'unknown' })])
    const prepared = await lab.prepare(vmId)
    expect((await next.start(vmId, 'ann', async () => prepared)).state).toBe('running')
  })
  test('after a reboot of the host stale traces are cleared and no process of this boot is taken for the guest (F14)', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    const next = lab.supervisor({ bootId: 'another boot' })
    expect((await next.adoptAll(known(vmId))).ended).toEqual([vmId])
    expect(next.runtime(vmId)).toMatchObject({ state: 'off', lastExit: { kind: 'host-reboot' } })
    expect(existsSync(vmRunPaths(lab.runDir, vmId).dir)).toBe(false)
    expect(isGone(pid)).toBe(false)
  })
  test('another process that got the pid of a dead guest is neither adopted nor signalled (F15)', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    const paths = vmRunPaths(lab.runDir, vmId)
    const record = JSON.parse(await readFile(paths.launch, 'utf8'))
    process.kill(pid, 'SIGKILL')
    for (let i = 0; i < 100 && !isGone(pid); i += 1) await sleep(10)
    const sleeper = spawn('sleep', ['60'], { stdio: 'ignore' })
    try {
      const stranger = readProcStat(sleeper.pid ?? 0)
      record.process = { pid: sleeper.pid, startTime: stranger?.startTime }
      await writeFile(paths.launch, JSON.stringify(record))
      await writeFile(paths.pidfile, `${sleeper.pid}\n`)
      const next = lab.supervisor()
      expect((await next.adoptAll(known(vmId))).ended).toEqual([vmId])
      await expect(next.poweroff(vmId, 'bob')).rejects.toMatchObject({ code: 'wrong_state' })
      expect(isGone(sleeper.pid ?? 0)).toBe(false)
    } finally {
      sleeper.kill('SIGKILL')
    }
  })
  test('a QEMU whose monitors do not answer is unmanageable, and its power can be cut (F21)', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    process.kill(pid, 'SIGSTOP')
    const next = lab.supervisor()
    expect((await next.adoptAll(known(vmId))).unmanageable).toEqual([vmId])
    expect(next.runtime(vmId).state).toBe('unmanageable')
    expect((await next.poweroff(vmId, 'bob')).state).toBe('off')
    expect(isGone(pid)).toBe(true)
  })
  test('a QEMU that was silent at adoption is managed once it answers', async () => {
    const { s, vmId, pid } = await started(lab)
    await s.detach()
    process.kill(pid, 'SIGSTOP')
    const next = lab.supervisor()
    await next.adoptAll(known(vmId))
    process.kill(pid, 'SIGCONT')
    const back = await untilState(next, vmId, 'running')
    expect(back).toMatchObject({ detail: null, live: { qemuVersion: expect.stringMatching(/^\d/) } })
    expect(next.serialHub(vmId)).not.toBeNull()
    expect((await next.pause(vmId, 'ann')).state).toBe('paused')
  })
  test('a launch that was cut short before its spawn leaves nothing and no word (F02)', async () => {
    const { s, vmId } = await started(lab)
    const record = JSON.parse(await readFile(vmRunPaths(lab.runDir, vmId).launch, 'utf8'))
    await s.detach()
    const cut = newVmId()
    const paths = vmRunPaths(lab.runDir, cut)
    await mkdir(paths.dir)
    await writeFile(paths.launch, JSON.stringify({ ...record, vmId: cut, process: null }))
    const next = lab.supervisor()
    const nothing = { adopted: [], ended: [], unmanageable: [], strangers: [vmId] }
    expect(await next.adoptAll(known(cut))).toEqual(nothing)
    expect(next.runtime(cut)).toMatchObject({ state: 'off', lastExit: null })
    const prepared = await lab.prepare(cut)
    expect((await next.start(cut, 'ann', async () => prepared)).state).toBe('running')
  })
  test('when somebody else holds the main monitor the rescue monitor serves', async () => {
    const { s, vmId } = await started(lab)
    await s.detach()
    const { connectQmp } = await import('#server/qmp/client.ts')
    const squatter = await connectQmp(vmRunPaths(lab.runDir, vmId).qmp)
    const next = lab.supervisor()
    expect((await next.adoptAll(known(vmId))).adopted).toEqual([vmId])
    expect((await next.pause(vmId, 'ann')).state).toBe('paused')
    squatter.close()
  })
  test('run directories of VMs nobody knows are reported and left alone', async () => {
    const stranger = newVmId()
    await mkdir(join(lab.runDir, stranger))
    const next = lab.supervisor()
    expect(await next.adoptAll(new Map())).toEqual({ adopted: [], ended: [], unmanageable: [], strangers: [stranger] })
    expect(existsSync(join(lab.runDir, stranger))).toBe(true)
  })
})
