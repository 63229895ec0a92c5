import { describe, expect, test } from 'vitest'
import { CLOSE, closeName, retryAfterClose } from './close-codes.ts'

describe('console close codes', () => {
  test('every code is one a WebSocket may carry, and each differs', () => {
    const codes = Object.values(CLOSE)
    expect(new Set(codes).size).toBe(codes.length)
    for (const code of codes) expect(code === 1000 || (code > 1000 && code < 1012) || code >= 4000).toBe(true)
  })

  test('a broken connection is tried again, a refusal is not, a guest that is off is waited for', () => {
    expect(closeName(1006)).toBeNull()
    expect([1006, CLOSE.goingAway, CLOSE.stalled, CLOSE.internal].map(retryAfterClose)).toEqual(Array(4).fill('soon'))
    expect([CLOSE.revoked, CLOSE.disconnected, CLOSE.tooMany, CLOSE.policy].map(retryAfterClose)).toEqual(
      Array(4).fill('never'),
    )
    expect([CLOSE.off, CLOSE.ended].map(retryAfterClose)).toEqual(Array(2).fill('when-running'))
  })
})
