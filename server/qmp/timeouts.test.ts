import { expect, test } from 'vitest'
import { commandTimeoutMs } from './timeouts.ts'

test.each([
  ['query-status', 5_000],
  ['query-anything-new', 5_000],
  ['query-qmp-schema', 15_000],
  ['screendump', 30_000],
  ['device_del', 15_000],
  ['quit', 10_000],
  ['some-new-command', 10_000],
])('%s may take %i ms', (command, timeoutMs) => {
  expect(commandTimeoutMs(command)).toBe(timeoutMs)
})
