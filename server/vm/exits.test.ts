import { describe, expect, test } from 'vitest'
import { exitOf } from './exits.ts'
import { initialModel, reduce, type VmEvent } from './transitions.ts'

const AT = '2026-01-01T00:00:00.000Z'
const RUNNING: VmEvent[] = [{ type: 'start-begun' }, { type: 'launched', runState: 'running' }]
const model = (...events: VmEvent[]) => events.reduce(reduce, initialModel(null))
const ended = (code: number | null, signal: string | null = null) => ({ at: AT, exitCode: code, signal, stderr: '' })
const shutdown: VmEvent = { type: 'ending', ending: { kind: 'guest-shutdown' } }

describe('the end of a run', () => {
  test('asked for by a person names the person', () => {
    const wish: VmEvent = { type: 'wish', wish: { by: 'ann', how: 'poweroff' } }
    expect(exitOf(model(...RUNNING, wish), ended(null, 'SIGKILL'))).toMatchObject({
      kind: 'operator',
      by: 'ann',
      code: 'none',
    })
  })
  test('chosen by the guest is no crash', () => {
    expect(exitOf(model(...RUNNING, shutdown), ended(0))).toMatchObject({ kind: 'guest-shutdown', by: null })
  })
  test('obeying a request counts as the asker\u2019s', () => {
    const wish: VmEvent = { type: 'wish', wish: { by: 'ann', how: 'shutdown' } }
    expect(exitOf(model(...RUNNING, wish, shutdown), ended(0))).toMatchObject({ kind: 'operator', by: 'ann' })
  })
  test('by somebody on the host is told from both', () => {
    const quit: VmEvent = { type: 'ending', ending: { kind: 'host-signal' } }
    expect(exitOf(model(...RUNNING, quit), ended(0)).kind).toBe('host-signal')
    expect(exitOf(model(...RUNNING), ended(null, 'SIGTERM')).kind).toBe('host-signal')
  })
  test('a signal nobody sent on purpose is a crash', () => {
    expect(exitOf(model(...RUNNING), ended(null, 'SIGSEGV'))).toMatchObject({ kind: 'crash', signal: 'SIGSEGV' })
  })
  test('a crash while a shutdown is awaited is still a crash', () => {
    const wish: VmEvent = { type: 'wish', wish: { by: 'ann', how: 'shutdown' } }
    expect(exitOf(model(...RUNNING, wish), ended(null, 'SIGSEGV')).kind).toBe('crash')
  })
  test('without notice on an open monitor is a crash although its exit status is unknown', () => {
    expect(exitOf(model(...RUNNING), ended(null)).kind).toBe('crash')
  })
  test('of a process that had fallen silent is unknown', () => {
    expect(exitOf(model(...RUNNING, { type: 'silent', detail: 's' }), ended(null)).kind).toBe('unknown')
  })
  test('before the guest ran is a launch failure', () => {
    expect(exitOf(model({ type: 'start-begun' }), ended(1))).toMatchObject({ kind: 'launch-failure', exitCode: 1 })
  })
  test('by the accelerator is a crash with advice, whoever ended the process', () => {
    const dead: VmEvent = { type: 'run-state', runState: 'internal-error' }
    const exit = exitOf(model(...RUNNING, dead), ended(0))
    expect(exit).toMatchObject({ kind: 'crash', code: 'kvm-internal-error' })
    expect(exit.advice).toContain('TCG')
  })
})
