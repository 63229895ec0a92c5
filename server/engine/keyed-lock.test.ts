import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createKeyedLock } from './keyed-lock.ts'

it('work of one key runs in turn, work of another beside it, and a failure does not block the queue', async () => {
  const locks = createKeyedLock()
  const order: string[] = []
  const step = (name: string, ms: number) => async () => {
    order.push(`${name} begins`)
    await sleep(ms)
    order.push(`${name} ends`)
    if (name === 'a1') throw new Error('a1 failed')
  }
  const all = [locks.run('a', step('a1', 20)), locks.run('a', step('a2', 5)), locks.run('b', step('b1', 1))]
  const results = await Promise.allSettled(all)
  expect(results.map((r) => r.status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
  expect(order).toEqual(['a1 begins', 'b1 begins', 'b1 ends', 'a1 ends', 'a2 begins', 'a2 ends'])
})
