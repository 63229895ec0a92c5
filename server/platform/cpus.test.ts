import { expect, test } from 'vitest'
import { parseCpuList, readAllowedCpus, readOnlineCpus } from './cpus.ts'

test('lists of CPUs are read as the kernel writes them', () => {
  expect(parseCpuList('0-3,8\n')).toEqual([0, 1, 2, 3, 8])
  expect(parseCpuList('5,1,1-2')).toEqual([1, 2, 5])
  expect(parseCpuList('')).toEqual([])
  expect(parseCpuList('x')).toEqual([])
  expect(parseCpuList('0-99999999').length).toBe(65_536)
})
test('this process may run on CPUs that are switched on, and a process that is gone on none', () => {
  const online = readOnlineCpus() ?? []
  const allowed = readAllowedCpus(process.pid, process.pid) ?? []
  expect(online.length).toBeGreaterThan(0)
  expect(allowed.length).toBeGreaterThan(0)
  expect(allowed.some((cpu) => online.includes(cpu))).toBe(true)
  expect(readAllowedCpus(2 ** 22 + 1, 2 ** 22 + 1)).toBeNull()
})
