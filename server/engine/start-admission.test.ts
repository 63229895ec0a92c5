/** What a host gives out to running guests: a part of it never. */
import { expect, test } from 'vitest'
import { createQuotas, type QuotaSources } from '#server/access/quotas.ts'
import { createStartAdmission, hostLimits } from './start-admission.ts'
import type { VmRecord } from './vm-records.ts'

/** Of a definition and of a run only what is counted is asked. */
const of = (id: string, memoryMiB: number, cpus: number) => {
  const record = {
    id,
    ownerId: 'ann',
    spec: { memoryMiB, cpus, dimms: [], virtioMem: null, disks: [], networks: [] },
  } as unknown as VmRecord
  return { record }
}
function rig(records: readonly VmRecord[], limits = { mostMiB: 1000, mostVcpus: 8 }) {
  const running = new Set<string>()
  const stored = new Map<string, unknown>()
  const sources: QuotaSources = {
    *vms() {
      for (const { id, ownerId, spec } of records)
        yield { id, ownerId, spec, projectId: null, running: admission.runningSpec(id) }
    },
    freeDisks: () => [],
    backups: () => [],
    ...{ snapshotsOf: () => 0, uploadsOf: () => 0, libraryBytesOf: () => 0, nameOf: () => 'ann' },
  }
  const store = {
    get: (_: string, key: string) => (stored.has(key) ? { value: stored.get(key), revision: 1 } : null),
    put: (_: string, key: string, value: unknown) => {
      stored.set(key, value)
      return 1
    },
    delete: (_: string, key: string) => stored.delete(key),
  }
  const quotas = createQuotas(store as never, sources)
  const admission = createStartAdmission({
    runtime: (id) => {
      const spec = running.has(id) ? records.find((one) => one.id === id)?.spec : undefined
      return { state: spec === undefined ? 'starting' : 'running', launchedSpec: spec ?? null } as never
    },
    records: { get: (id) => records.find((one) => one.id === id) ?? null, all: () => records },
    quotas: () => quotas,
    holderOf: (_, ownerId) => ({ type: 'person', id: ownerId }),
    limits,
  })
  return { admission, quotas, running }
}
const ANN = { type: 'person', id: 'ann' } as const
const codeOf = (work: () => unknown) => {
  try {
    work()
    return 'done'
  } catch (error) {
    return (error as { code: string }).code
  }
}

test('a tenth of the memory is nobody’s, and processors are promised so often and no oftener', () => {
  expect(hostLimits(10_000, 16)).toEqual({ mostMiB: 9000, mostVcpus: 256 })
  const { record: a } = of('a', 600, 4)
  const { record: b } = of('b', 600, 1)
  const { record: c } = of('c', 100, 5)
  const { admission } = rig([a, b, c])
  admission.admit(a)
  expect(codeOf(() => admission.admit(b))).toBe('no_memory')
  expect(codeOf(() => admission.admit(c))).toBe('no_cpus')
  // One that starts anew counts once.
  expect(codeOf(() => admission.admit(a))).toBe('done')
})

test('of two guests that would be given the last memory at once one is, and what is taken back is free again', () => {
  const { record: a } = of('a', 300, 1)
  const { record: b } = of('b', 300, 1)
  const { admission, running, quotas } = rig([a, b])
  running.add('a').add('b')
  const more = (record: VmRecord, sizeMiB: number) =>
    admission.grow(record, { ...record.spec, dimms: [{ id: 'dimm0', sizeMiB }] })
  const release = more(a, 300)
  expect(codeOf(() => more(b, 300))).toBe('no_memory')
  release()
  expect(codeOf(() => more(b, 300)())).toBe('done')
  expect(codeOf(() => admission.grow(a, { ...a.spec, cpus: 8 }))).toBe('no_cpus')

  quotas.set(ANN, { runningMemoryMiB: 700, runningVcpus: 3 })
  expect(codeOf(() => more(a, 101))).toBe('quota_exceeded')
  const kept = admission.grow(a, { ...a.spec, cpus: 2 })
  expect(codeOf(() => admission.grow(b, { ...b.spec, cpus: 2 }))).toBe('quota_exceeded')
  kept()
  // To be given less asks nobody.
  quotas.set(ANN, { runningMemoryMiB: 1 })
  expect(codeOf(() => admission.grow(a, a.spec))).toBe('done')
})
