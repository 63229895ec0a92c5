/** One piece of long work at a time on a VM, on a real store. */
import { expect, it } from 'vitest'
import { ADMIN, create, now, update } from './test-rig.ts'
import { createVmBusy } from './vm-busy.ts'

const request = { what: 'test', sentence: 'A test is under way', by: 'ada' }

it('a second one is refused by the name of the first, and what it forbids is refused meanwhile', async () => {
  const busy = createVmBusy(now.store, () => {})
  const gate = Promise.withResolvers<void>()
  const first = busy.run('v', { ...request, blocks: ['start'] }, () => gate.promise)
  await expect(busy.run('v', request, async () => {})).rejects.toMatchObject({
    code: 'vm_busy',
    message: expect.stringContaining('A test is under way'),
  })
  expect(() => busy.assertFree('v', 'start')).toThrow(/A test is under way/)
  expect(() => busy.assertFree('v', 'change')).not.toThrow()
  await busy.run('w', request, async () => {})
  gate.resolve()
  await first
  expect(() => busy.assertFree('v', 'start')).not.toThrow()
  expect(now.store.list<unknown>('meta').filter(({ key }) => key.startsWith('vm-busy:'))).toEqual([])
})

it('what a crash interrupted is given to the one who knows what to do, with what was noted last (F49)', async () => {
  const before = createVmBusy(now.store, () => {})
  const noted = Promise.withResolvers<void>()
  // Never ends: its process is dead.
  void before.run('v', request, async (note) => {
    note({ step: 2 })
    noted.resolve()
    await new Promise(() => {})
  })
  await noted.promise
  const after = createVmBusy(now.store, () => {})
  expect(() => after.assertFree('v', 'delete')).toThrow()
  const seen: unknown[] = []
  after.onRecovery('test', async (vmId, left) => {
    seen.push([vmId, left.about])
  })
  await after.recover()
  expect(seen).toEqual([['v', { step: 2 }]])
  expect(after.get('v')).toBeNull()
  await createVmBusy(now.store, () => {}).recover()
  expect(seen).toHaveLength(1)
})

it('a VM that is being worked on is neither started, changed nor deleted, and says what is under way', async () => {
  const vm = await create(ADMIN, { name: 'busy', memoryMiB: 32, networks: [], disks: [] })
  const gate = Promise.withResolvers<void>()
  const work = now.engine.busy.run(vm.id, request, () => gate.promise)
  for (const refused of [
    now.engine.vms.start(ADMIN, vm.id),
    update(ADMIN, vm.id, { memoryMiB: 64 }),
    now.engine.vms.delete(ADMIN, vm.id, null),
  ])
    await expect(refused).rejects.toMatchObject({ code: 'vm_busy' })
  expect((await now.engine.vms.view(ADMIN, vm.id)).work).toMatchObject({ what: 'test', by: 'ada' })
  gate.resolve()
  await work
  expect((await now.engine.vms.view(ADMIN, vm.id)).work).toBeUndefined()
})
