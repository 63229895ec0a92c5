import { describe, expect, test, vi } from 'vitest'
import { Mailbox } from './mailbox.ts'

const tick = () => new Promise((resolve) => setImmediate(resolve))

describe('the mailbox', () => {
  test('gives turns one at a time, in the order of asking', async () => {
    const mailbox = new Mailbox()
    const log: string[] = []
    const turn = (name: string) => async () => {
      log.push(`${name} begins`)
      await tick()
      log.push(`${name} ends`)
      return name
    }
    const answers = await Promise.all([mailbox.submit(turn('a')), mailbox.submit(turn('b')), mailbox.submit(turn('c'))])
    expect(answers).toEqual(['a', 'b', 'c'])
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })
  test('lets a request see every event that came before its turn', async () => {
    const mailbox = new Mailbox()
    let state = 'running'
    const first = mailbox.submit(tick)
    const second = mailbox.submit(async () => state)
    state = 'paused'
    await first
    expect(await second).toBe('paused')
  })
  test('goes on after a turn that failed', async () => {
    const mailbox = new Mailbox()
    await expect(mailbox.submit(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await mailbox.submit(async () => 'next')).toBe('next')
  })
  test('interrupts the turn in progress and no other', async () => {
    const mailbox = new Mailbox()
    const hung = mailbox.submit(
      (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    )
    const next = mailbox.submit(async (signal) => signal.aborted)
    await tick()
    mailbox.interrupt(new Error('power cut'))
    await expect(hung).rejects.toThrow('power cut')
    expect(await next).toBe(false)
  })
  test('does not let a request wait for ever', async () => {
    vi.useFakeTimers()
    try {
      const mailbox = new Mailbox()
      const release = Promise.withResolvers<void>()
      const hung = mailbox.submit(() => release.promise)
      const ran = vi.fn(async () => 'late')
      const waiting = mailbox.submit(ran)
      const refused = expect(waiting).rejects.toMatchObject({ code: 'busy' })
      await vi.advanceTimersByTimeAsync(15_000)
      await refused
      release.resolve()
      await hung
      await vi.advanceTimersByTimeAsync(1)
      expect(ran).not.toHaveBeenCalled()
    } finally {
      vi.useRealTimers()
    }
  })
})
