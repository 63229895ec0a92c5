import { expect, test } from 'vitest'
import { intermediateOf, tokenBucket } from './rate-limit.ts'

test('a bucket holds a whole frame and what the rate lets through between two slow ticks', () => {
  expect(tokenBucket(1, 1500).join(' ')).toBe('tbf rate 8000bit burst 16384b latency 100ms')
  expect(tokenBucket(1, 65_535)).toContain('65553b')
  expect(tokenBucket(100_000, 1500).join(' ')).toBe('tbf rate 800000000bit burst 5000000b latency 100ms')
})
test('the name of the intermediate interface follows from the tap and fits', () => {
  expect(intermediateOf('gd0123456789abc')).toBe('gi0123456789abc')
})
