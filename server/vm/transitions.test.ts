import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PowerAction, VmExit } from '#lib/schema/vm-state.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import { decide, initialModel, lookOf, reduce, type VmEvent, type VmModel } from './transitions.ts'

const exit = (kind: VmExit['kind']): VmExit => ({
  at: '2026-01-01T00:00:00.000Z',
  kind,
  code: kind === 'crash' ? 'signal' : 'none',
  summary: kind,
  advice: '',
  exitCode: null,
  signal: null,
  stderrTail: '',
  by: null,
})

const off = initialModel(null)
const modelAfter = (...events: VmEvent[]): VmModel => events.reduce(reduce, off)
const RUNNING: VmEvent[] = [{ type: 'start-begun' }, { type: 'launched', runState: 'running' }]
const running = modelAfter(...RUNNING)
const asked = { type: 'wish', wish: { by: 'ann', how: 'shutdown' } } as const
const cut = { type: 'wish', wish: { by: 'ann', how: 'poweroff' } } as const
const request = (model: VmModel, action: PowerAction) => decide(model, { action, by: 'ann' })

describe('what people may ask', () => {
  test('a VM that is off can be started, and one that crashed too', () => {
    expect(request(off, 'start')).toEqual({ kind: 'accept' })
    expect(request(modelAfter(...RUNNING, { type: 'exited', exit: exit('crash') }), 'start')).toEqual({
      kind: 'accept',
    })
  })
  test('a start is denied while one is under way, and while the guest runs', () => {
    expect(request(modelAfter({ type: 'start-begun' }), 'start').kind).toBe('deny')
    expect(request(running, 'start')).toEqual({ kind: 'deny', reason: allowedAction('running', 'start').reason })
  })
  test('asking a second time for a shutdown changes nothing and is no error', () => {
    expect(request(modelAfter(...RUNNING, asked), 'shutdown')).toEqual({ kind: 'ignore' })
  })
  test('power can be cut while a shutdown is awaited, and cutting it twice is no error', () => {
    expect(request(modelAfter(...RUNNING, asked), 'poweroff')).toEqual({ kind: 'accept' })
    expect(request(modelAfter(...RUNNING, cut), 'poweroff')).toEqual({ kind: 'ignore' })
  })
  test('a shutdown that hangs can be answered with a reset', () => {
    expect(request(modelAfter(...RUNNING, asked), 'reset')).toEqual({ kind: 'accept' })
  })
  test('while its power is cut nothing else is done to a guest', () => {
    for (const action of ['start', 'reset', 'pause', 'resume'] as const) {
      expect(request(modelAfter(...RUNNING, cut), action).kind).toBe('deny')
    }
  })
  test('a paused guest cannot be asked to shut down, and is told why', () => {
    const paused = modelAfter(...RUNNING, { type: 'run-state', runState: 'paused' })
    expect(request(paused, 'shutdown')).toEqual({ kind: 'deny', reason: allowedAction('paused', 'shutdown').reason })
  })
  test('of an unmanageable VM only the power can be cut', () => {
    const silent = modelAfter(...RUNNING, { type: 'silent', detail: 'silent' })
    expect(request(silent, 'poweroff').kind).toBe('accept')
    for (const action of ['start', 'shutdown', 'reset', 'pause', 'resume'] as const) {
      expect(request(silent, action).kind).toBe('deny')
    }
  })
})

describe('what happens', () => {
  test('a guest that shuts itself down is stopping until its process is gone, then off', () => {
    const ended = modelAfter(...RUNNING, { type: 'run-state', runState: 'shutdown' })
    expect(ended).toMatchObject({ state: 'stopping', ending: { kind: 'guest-shutdown' }, process: true })
    expect(reduce(ended, { type: 'exited', exit: exit('guest-shutdown') })).toMatchObject({
      state: 'off',
      process: false,
    })
  })
  test('a process that dies unasked is a crash', () => {
    expect(modelAfter(...RUNNING, { type: 'exited', exit: exit('crash') }).state).toBe('crashed')
  })
  test('a monitor that falls silent is neither off nor a crash, and comes back as it was', () => {
    const silent = modelAfter(...RUNNING, { type: 'silent', detail: 'x' })
    expect(silent).toMatchObject({ state: 'unmanageable', process: true })
    expect(reduce(silent, { type: 'answers', runState: 'paused' })).toMatchObject({ state: 'paused', detail: null })
  })
  test('a shutdown request the guest ignores ends in running again, with a word about it', () => {
    const expired = modelAfter(...RUNNING, asked, { type: 'wish-expired', detail: 'no reaction' })
    expect(expired).toMatchObject({ state: 'running', wish: null, detail: 'no reaction' })
  })
  test('a shutdown request that expires after the guest began to end changes nothing', () => {
    const ending = modelAfter(...RUNNING, asked, { type: 'ending', ending: { kind: 'guest-shutdown' } })
    expect(reduce(ending, { type: 'wish-expired', detail: 'late' })).toBe(ending)
  })
  test('a poweroff during the launch is not forgotten when the launch ends', () => {
    const late = modelAfter({ type: 'start-begun' }, cut, { type: 'launched', runState: 'running' })
    expect(late).toMatchObject({ state: 'stopping', wish: { how: 'poweroff' } })
  })
  test('a shutdown request does not replace a poweroff', () => {
    expect(modelAfter(...RUNNING, cut, asked).wish?.how).toBe('poweroff')
  })
  test('an accelerator that gives up stops the guest for good', () => {
    const dead = modelAfter(...RUNNING, { type: 'run-state', runState: 'internal-error' })
    expect(dead).toMatchObject({ state: 'stopping', ending: { kind: 'internal-error' } })
    expect(reduce(dead, { type: 'run-state', runState: 'running' }).ending).toEqual({ kind: 'internal-error' })
  })
  test('a disk error pauses the guest and says what to do', () => {
    expect(lookOf('io-error')).toMatchObject({ state: 'paused', detail: expect.stringContaining('space') })
  })
  test('a start that was refused leaves the last exit as it was', () => {
    const before = modelAfter(...RUNNING, { type: 'exited', exit: exit('guest-shutdown') })
    const refused = reduce(reduce(before, { type: 'start-begun' }), { type: 'start-refused' })
    expect(refused).toEqual(before)
  })
})

const RUN_STATES = ['running', 'paused', 'io-error', 'guest-panicked', 'shutdown', 'internal-error', 'prelaunch', 'new']
const anyEvent: fc.Arbitrary<VmEvent> = fc.oneof(
  fc.constant<VmEvent>({ type: 'start-begun' }),
  fc.constant<VmEvent>({ type: 'start-refused' }),
  fc.constantFrom(...RUN_STATES).map((runState): VmEvent => ({ type: 'launched', runState })),
  fc.constantFrom(...RUN_STATES).map((runState): VmEvent => ({ type: 'run-state', runState })),
  fc.constantFrom(...RUN_STATES).map((runState): VmEvent => ({ type: 'answers', runState })),
  fc.constantFrom<VmEvent>(asked, cut, { type: 'wish-void' }, { type: 'wish-expired', detail: 'd' }),
  fc
    .constantFrom('guest-shutdown', 'host-signal', 'internal-error')
    .map((kind): VmEvent => ({ type: 'ending', ending: { kind } as Extract<VmEvent, { type: 'ending' }>['ending'] })),
  fc.constantFrom<VmEvent>(
    { type: 'silent', detail: 's' },
    { type: 'found-silent', detail: 's' },
    { type: 'poweroff-failed', detail: 'p' },
  ),
  fc
    .constantFrom<VmExit['kind']>('guest-shutdown', 'operator', 'crash', 'launch-failure', 'host-signal', 'unknown')
    .map((kind): VmEvent => ({ type: 'exited', exit: exit(kind) })),
)
const ACTIONS: PowerAction[] = ['start', 'shutdown', 'poweroff', 'reset', 'pause', 'resume']

describe('for any sequence of events', () => {
  const along = (check: (before: VmModel, event: VmEvent, next: VmModel) => void) =>
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
        let model = off
        for (const event of events) {
          const next = reduce(model, event)
          check(model, event, next)
          model = next
        }
      }),
      { numRuns: 2000 },
    )

  test('a process exists exactly while the VM is neither off nor crashed', () => {
    along((_, __, next) => expect(next.process).toBe(next.state !== 'off' && next.state !== 'crashed'))
  })
  test('a start is accepted only when there is no process, so never two', () => {
    along((_, __, next) => {
      if (request(next, 'start').kind === 'accept') expect(next.process).toBe(false)
      if (next.process) expect(reduce(next, { type: 'start-begun' })).toBe(next)
    })
  })
  test('a process is given up only when it is confirmed gone or never came to be', () => {
    along((before, event, next) => {
      if (before.process && !next.process) expect(['exited', 'start-refused']).toContain(event.type)
    })
  })
  test('a VM is crashed after a crash and nothing else', () => {
    along((before, event, next) => {
      if (next.state !== 'crashed' || before.state === 'crashed') return
      expect(event).toMatchObject({ type: 'exited', exit: { kind: 'crash' } })
    })
  })
  test('losing the monitor never looks like an end', () => {
    along((before, event, next) => {
      if (event.type === 'silent' && before.process) expect(next.process).toBe(true)
    })
  })
  test('every request is accepted, ignored, or denied with a sentence; and what the table denies is never accepted', () => {
    along((_, __, next) => {
      for (const action of ACTIONS) {
        const decision = request(next, action)
        if (decision.kind === 'deny') expect(decision.reason).toMatch(/^[A-Z].*\.$/)
        if (decision.kind === 'accept') expect(allowedAction(next.state, action).allowed).toBe(true)
      }
    })
  })
  test('no wish or ending outlives its run', () => {
    along((_, __, next) => {
      if (!next.process) expect([next.wish, next.ending, next.runState]).toEqual([null, null, null])
    })
  })
  test('the model is never changed in place', () => {
    along((before, event) => {
      const copy = structuredClone(before)
      reduce(before, event)
      expect(before).toEqual(copy)
    })
  })
})
