import { expect, test } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import type { JobRegistry } from '#server/jobs/registry.ts'
import { createJobs } from './jobs.ts'
import type { Caller } from './types.ts'

const ANN: Caller = { userId: 'ann', name: 'ann', role: 'member', via: 'session' } as Caller
const TOKEN: Caller = { ...ANN, via: 'token', scope: { privileges: ['vm.view'], vmIds: ['mine'] } }
const OWNERS: Readonly<Record<string, string>> = { mine: 'ann', other: 'ann', gone: 'ben' }

function rig() {
  const all = [
    { id: 'a', target: { type: 'vm', id: 'mine' } },
    { id: 'b', target: { type: 'vm', id: 'other' } },
    { id: 'c', target: { type: 'vm', id: 'gone' } },
    { id: 'd', target: null },
  ] as unknown as readonly Job[]
  const cancelled: string[] = []
  const jobs = {
    list: () => all,
    view: (id: string) => all.find((job) => job.id === id) ?? null,
    cancel: (id: string) => cancelled.push(id),
  } as unknown as JobRegistry
  const records = { get: (id: string) => (id in OWNERS ? { id, ownerId: OWNERS[id] } : null) } as never
  const engine = createJobs({ jobs, records, whose: () => 'ann' })
  const seenBy = async (caller: Caller) => (await engine.list(caller)).items.map(({ id }) => id)
  return { engine, cancelled, seenBy }
}

test('what somebody began is out of their sight and hands once they no longer reach what it is about (R05)', async () => {
  const { engine, cancelled, seenBy } = rig()
  expect(await seenBy(ANN)).toEqual(['a', 'b', 'd'])
  await expect(engine.cancel(ANN, 'c')).rejects.toMatchObject({ code: 'not_found' })
  await engine.cancel(ANN, 'b')
  expect(cancelled).toEqual(['b'])
})

test('a token for some VMs is told about work on those alone (R08)', async () => {
  const { engine, seenBy } = rig()
  expect(await seenBy(TOKEN)).toEqual(['a'])
  await expect(engine.view(TOKEN, 'd', undefined)).rejects.toMatchObject({ code: 'not_found' })
})
