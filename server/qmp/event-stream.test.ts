import { describe, expect, test } from 'vitest'
import { QmpDisconnectedError, QmpStateError, QmpTimeoutError } from './errors.ts'
import { EventQueue } from './event-stream.ts'

const event = (name: string, n = 0) => ({ event: name, data: { n }, timestampMs: n })
const queue = (names: readonly string[] | null = null, limit?: number) => new EventQueue(names, () => {}, limit)

describe('a stream of events', () => {
  test('delivers in order what came before and after it was read', async () => {
    const stream = queue()
    stream.offer(event('STOP', 1))
    const first = await stream.next()
    const second = stream.next()
    stream.offer(event('RESUME', 2))
    expect([first.value?.event, (await second).value?.event]).toEqual(['STOP', 'RESUME'])
  })

  test('passes over the events nobody asked for', async () => {
    const stream = queue(['SHUTDOWN'])
    stream.offer(event('STOP'))
    stream.offer(event('SHUTDOWN'))
    expect((await stream.next()).value?.event).toBe('SHUTDOWN')
  })

  test('gives what is queued before the error that ended it', async () => {
    const stream = queue()
    stream.offer(event('SHUTDOWN'))
    stream.end(new QmpDisconnectedError('gone'))
    expect((await stream.next()).value?.event).toBe('SHUTDOWN')
    await expect(stream.next()).rejects.toThrow(QmpDisconnectedError)
  })

  test('closes with an error when nobody reads, and holds nothing any more', async () => {
    const stream = queue(null, 3)
    for (let i = 0; i < 4; i += 1) stream.offer(event('RTC_CHANGE', i))
    await expect(stream.next()).rejects.toThrow(QmpStateError)
  })

  test('leaving a loop closes the stream', async () => {
    const closed: EventQueue[] = []
    const stream = new EventQueue(null, (q) => closed.push(q))
    stream.offer(event('STOP'))
    for await (const one of stream) {
      expect(one.event).toBe('STOP')
      break
    }
    expect(closed).toEqual([stream])
    expect((await stream.next()).done).toBe(true)
  })

  test('waiting takes the first match and gives up at its deadline without swallowing a later event', async () => {
    const stream = queue()
    stream.offer(event('STOP', 1))
    stream.offer(event('STOP', 2))
    expect((await stream.waitFor((e) => e.timestampMs === 2, { timeoutMs: 50 })).timestampMs).toBe(2)
    await expect(stream.waitFor(() => true, { timeoutMs: 5 })).rejects.toThrow(QmpTimeoutError)
    stream.offer(event('RESUME', 3))
    expect((await stream.next()).value?.event).toBe('RESUME')
  })

  test('waiting ends with the reason of an abort', async () => {
    const stream = queue()
    const controller = new AbortController()
    const waiting = stream.waitFor(() => true, { timeoutMs: 1000, signal: controller.signal })
    controller.abort(new Error('not wanted any more'))
    await expect(waiting).rejects.toThrow('not wanted any more')
  })

  test('closing ends those who wait', async () => {
    const stream = queue()
    const next = stream.next()
    const waiting = stream.waitFor(() => true, { timeoutMs: 1000 })
    stream.close()
    expect((await next).done).toBe(true)
    await expect(waiting).rejects.toThrow(QmpStateError)
  })
})
