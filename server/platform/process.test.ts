import { expect, test } from 'vitest'
import { isAlive, ProcessMeter, parseProcStat, readProcStat, readSystemUnits } from './process.ts'

test('a command name with spaces and parentheses does not confuse the reader of /proc stat', () => {
  const text = '42 (a) R (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 987654 1000 10 18446744073709551615'
  expect(parseProcStat(text)).toEqual({ pid: 42, state: 'S', cpuTicks: 12, startTime: 987654 })
})
test('text that is no stat line is none', () => {
  expect(parseProcStat('')).toBeNull()
  expect(parseProcStat('12 (x) S')).toBeNull()
})
test('a process is known by its number and start time together', () => {
  const me = readProcStat(process.pid)
  expect(me).not.toBeNull()
  if (!me) return
  expect(isAlive(me)).toBe(true)
  expect(isAlive({ pid: me.pid, startTime: me.startTime + 1 })).toBe(false)
})
test('page size and clock ticks come from the kernel', () => {
  const { pageBytes, ticksPerSecond } = readSystemUnits()
  expect(Math.log2(pageBytes) % 1).toBe(0)
  expect(pageBytes).toBeGreaterThanOrEqual(4096)
  expect(ticksPerSecond).toBe(100)
})
test('a meter reads CPU time that grows and memory that is there', () => {
  const meter = new ProcessMeter(process.pid)
  const first = meter.read()
  const until = performance.now() + 60
  while (performance.now() < until);
  const second = meter.read()
  meter.close()
  expect((second?.cpuTicks ?? 0) - (first?.cpuTicks ?? 0)).toBeGreaterThan(0)
  expect(first?.residentPages).toBeGreaterThan(1000)
  expect(meter.read()).toBeNull()
})
