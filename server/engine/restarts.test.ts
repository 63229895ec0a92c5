import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { VmExit, VmState } from '#lib/schema/vm-state.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { createRestarts } from './restarts.ts'

function rig(state: VmState, afterAsking: VmState = 'stopping') {
  const started: string[] = []
  const givenUp: string[] = []
  let asked = 0
  const runtime = (now: VmState) => ({ state: now }) as VmRuntime
  const restarts = createRestarts({
    supervisor: {
      runtime: () => runtime(state),
      shutdown: async () => {
        asked += 1
        return runtime(afterAsking)
      },
    },
    start: async (id, by) => void started.push(`${id} ${by}`),
    onGivenUp: (id, _by, why) => givenUp.push(`${id} ${why}`),
  })
  const change = async (now: VmState, exit: VmExit['kind'] | null = null) => {
    restarts.changed('a', runtime(now), exit === null ? null : ({ kind: exit } as VmExit))
    await turn()
  }
  return { restarts, started, givenUp, change, asked: () => asked }
}

it('a guest that shuts down as asked is started again, once', async () => {
  const { restarts, started, change } = rig('running')
  expect((await restarts.ask('a', 'ann')).state).toBe('stopping')
  await change('stopping')
  expect(started).toEqual([])
  await change('off', 'operator')
  await change('starting')
  await change('running')
  await change('off', 'guest-shutdown')
  expect(started).toEqual(['a ann'])
})

it('a guest that is off before the answer is there is started all the same', async () => {
  const { restarts, started } = rig('running', 'off')
  await restarts.ask('a', 'ann')
  expect(started).toEqual(['a ann'])
})

it('one that ignores the request runs on, and that is told', async () => {
  const { restarts, started, givenUp, change } = rig('running')
  await restarts.ask('a', 'ann')
  await change('running')
  await change('off', 'guest-shutdown')
  expect(started).toEqual([])
  expect(givenUp).toEqual([expect.stringContaining('did not shut down')])
})

it.each(['crash', 'host-signal', 'unknown'] as const)('after an end of kind %s nothing is started', async (kind) => {
  const { restarts, started, givenUp, change } = rig('running')
  await restarts.ask('a', 'ann')
  await change('off', kind)
  expect(started).toEqual([])
  expect(givenUp).toHaveLength(1)
})

it('whoever shuts it down or cuts its power meanwhile is obeyed', async () => {
  const { restarts, started, givenUp, change } = rig('running')
  await restarts.ask('a', 'ann')
  restarts.forget('a')
  await change('off', 'operator')
  expect([started, givenUp]).toEqual([[], []])
})

it.each(['off', 'paused', 'starting', 'stopping', 'crashed', 'unmanageable'] as const)(
  'a VM that is %s is not asked, with the reason',
  async (state) => {
    const { restarts, asked } = rig(state)
    await expect(restarts.ask('a', 'ann')).rejects.toMatchObject({
      code: 'wrong_state',
      message: expect.stringMatching(/.{10,}/),
    })
    expect(asked()).toBe(0)
  },
)
