/** Projects, shares and quotas on the whole engine: who reaches what, and how much. */
import { beforeAll, expect, test } from 'vitest'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { ADMIN, ANN, BEN, create, now, until } from './test-rig.ts'
import type { Caller } from './types.ts'

let ada: Caller
let ann: Caller
let ben: Caller

beforeAll(() => {
  for (const { userId: id, name, role } of [ADMIN, ANN, BEN]) now.store.put('user', id, { id, name, role })
  const { access } = now.engine
  const of = (caller: Caller): Caller => ({ ...caller, grants: access.grantsOf(caller.userId) })
  ada = of(ADMIN)
  ann = of(ANN)
  ben = of(BEN)
})

const spec = (name: string) => ({ name, memoryMiB: 64, cpus: 1, disks: [] })
const mayView = (caller: Caller, id: string) => now.engine.authorize(caller, 'vm.view', 'vm', id)
const share = (caller: Caller, id: string, shares: unknown[], expected: number | null = null) =>
  now.engine.objectAccess.update(caller, 'vm', id, { shares } as never, expected)
const toBen = (role: string) => ({ to: { type: 'person', id: BEN.userId }, role })

test('what A owns B does not reach; shared B does at once, as far as the role goes; taken back it is gone (R05)', async () => {
  const vm = await create(ann, spec('mine'))
  await expect(mayView(ben, vm.id)).rejects.toMatchObject({ code: 'not_found' })
  await expect(mayView(ben, '01890000-0000-7000-8000-00000000ffff')).rejects.toMatchObject({
    message: 'There is no such VM.',
  })
  const told: string[] = []
  const stop = now.engine.events.subscribe(ben, null, (event) => told.push(`${event.kind} ${event.id ?? ''}`))
  await share(ann, vm.id, [toBen('viewer')])
  await mayView(ben, vm.id)
  expect((await now.engine.vms.list(ben)).items.map(({ id }) => id)).toEqual([vm.id])
  await expect(now.engine.authorize(ben, 'vm.power', 'vm', vm.id)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(now.engine.vms.start(ben, vm.id)).rejects.toMatchObject({ code: 'forbidden' })
  await share(ann, vm.id, [])
  stop()
  expect(told).toContain(`gone ${vm.id}`)
  await expect(mayView(ben, vm.id)).rejects.toMatchObject({ code: 'not_found' })
  expect((await now.engine.vms.list(ben)).items).toEqual([])
})

test('a project’s VM is its people’s: a member looks, an operator acts, an archive only shows, who left reaches nothing', async () => {
  const { projects } = now.engine
  const project = await projects.create(ann, { name: 'lab', description: '', members: [] })
  const vm = await now.engine.vms.create(ann, { ...VmSpecInput.parse(spec('ours')), project: project.id })
  await expect(mayView(ben, vm.id)).rejects.toMatchObject({ code: 'not_found' })
  const self = { to: { type: 'person', id: ANN.userId }, role: 'admin' }
  const members = (role: string) => projects.update(ann, project.id, { members: [self, toBen(role)] } as never, null)
  await members('member')
  await mayView(ben, vm.id)
  await expect(now.engine.authorize(ben, 'vm.power', 'vm', vm.id)).rejects.toMatchObject({ code: 'forbidden' })
  await members('operator')
  await now.engine.authorize(ben, 'vm.power', 'vm', vm.id)
  await projects.update(ann, project.id, { archived: true }, null)
  await expect(now.engine.authorize(ben, 'vm.power', 'vm', vm.id)).rejects.toMatchObject({ code: 'forbidden' })
  await projects.update(ann, project.id, { archived: false, members: [self] } as never, null)
  await expect(mayView(ben, vm.id)).rejects.toMatchObject({ code: 'not_found' })
  await expect(projects.delete(ann, project.id)).rejects.toMatchObject({ code: 'in_use' })
})

test('of two creates that would pass a quota together one wins, and the other is told which quota and who raises it', async () => {
  await now.engine.usage.setQuota(ada, { type: 'person', id: ANN.userId }, { vms: 1 })
  const results = await Promise.allSettled([create(ann, spec('one')), create(ann, spec('two'))])
  const refused = results.filter((result) => result.status === 'rejected')
  expect(refused).toHaveLength(1)
  expect(refused[0]?.reason).toMatchObject({
    code: 'quota_exceeded',
    details: { item: 'vms', limit: 1, used: 1, asked: 1 },
  })
  expect(refused[0]?.reason.message).toContain('ask an administrator')
  await now.engine.usage.setQuota(ada, { type: 'person', id: ANN.userId }, null)
})

test('a schedule takes no snapshot beyond its owner’s quota and says so; with room it does', async () => {
  const vm = await create(ann, { ...spec('kept often'), disks: [{ device: 'disk', sizeGiB: 1 }] })
  const retention = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }
  const made = await now.engine.snapshots.createSchedule(ann, vm.id, {
    ...{ cron: '0 3 * * *', timeZone: 'UTC', retention, kind: 'disk' },
  } as never)
  const lastRun = async () => (await now.engine.snapshots.schedules(ann, vm.id)).items[0]?.lastRun ?? null
  const limit = (snapshots: number | null) =>
    now.engine.usage.setQuota(ada, { type: 'person', id: ANN.userId }, snapshots === null ? null : { snapshots })
  await limit(0)
  await now.engine.snapshots.runSchedule(ann, vm.id, made.id)
  await expect.poll(async () => (await lastRun())?.result, { timeout: 30_000 }).toBe('failed')
  expect((await lastRun())?.message).toContain('ask an administrator')
  expect((await now.engine.snapshots.list(ann, vm.id)).items).toEqual([])
  await limit(1)
  await now.engine.snapshots.runSchedule(ann, vm.id, made.id)
  await expect.poll(async () => (await lastRun())?.result, { timeout: 60_000 }).toBe('ok')
  await expect(now.engine.snapshots.create(ann, vm.id, { note: '', kind: 'disk' } as never)).rejects.toMatchObject({
    code: 'quota_exceeded',
  })
  await limit(null)
})

test('of two who change the same shares one saves and the other is told; whoever looks again saves (A21)', async () => {
  const vm = await create(ann, spec('shared twice'))
  const { revision } = await now.engine.objectAccess.view(ann, 'vm', vm.id)
  const toAda = { to: { type: 'person', id: ADMIN.userId }, role: 'viewer' }
  const both = await Promise.allSettled([
    share(ann, vm.id, [toBen('viewer')], revision),
    share(ada, vm.id, [toAda], revision),
  ])
  expect(both.map((one) => (one.status === 'rejected' ? one.reason.code : 'saved'))).toEqual([
    'saved',
    'stale_revision',
  ])
  const seen = await now.engine.objectAccess.view(ada, 'vm', vm.id)
  expect(seen.shares.map(({ name }) => name)).toEqual([BEN.name])
  const saved = await share(ada, vm.id, [toBen('viewer'), toAda], seen.revision)
  expect(saved.shares).toHaveLength(2)
  // A move counts too: it changes who reaches it.
  const project = await now.engine.projects.create(ann, { name: 'twice', description: '', members: [] })
  await now.engine.objectAccess.update(ann, 'vm', vm.id, { projectId: project.id }, saved.revision)
  await expect(share(ada, vm.id, [], saved.revision)).rejects.toMatchObject({ code: 'stale_revision' })
})

test('nobody gives away what is not theirs, nor more than they may', async () => {
  const vm = await create(ann, spec('kept'))
  await expect(share(ben, vm.id, [toBen('operator')])).rejects.toMatchObject({ code: 'not_found' })
  await expect(
    now.engine.objectAccess.update(ann, 'vm', vm.id, { ownerId: BEN.userId } as never, null),
  ).rejects.toMatchObject({ code: 'forbidden' })
  await now.engine.objectAccess.update(ada, 'vm', vm.id, { ownerId: BEN.userId } as never, null)
  await mayView(ben, vm.id)
  await expect(mayView(ann, vm.id)).rejects.toMatchObject({ code: 'not_found' })
})

test('whoever something is shared with does not take it into a project of theirs; its owner does, and who is in the project never takes it out (R05)', async () => {
  const { objectAccess, projects } = now.engine
  const project = await projects.create(ben, { name: 'of ben', description: '', members: [] })
  const vm = await create(ann, spec('lent'))
  const disk = await now.engine.volumes.create(ann, { name: 'lent disk', sizeGiB: 1 } as never)
  for (const [kind, id] of [
    ['vm', vm.id],
    ['volume', disk.id],
  ] as const) {
    await objectAccess.update(ann, kind, id, { shares: [toBen('operator')] } as never, null)
    for (const patch of [{ projectId: project.id }, { projectId: project.id, ownerId: BEN.userId }])
      await expect(objectAccess.update(ben, kind, id, patch as never, null)).rejects.toMatchObject({
        code: 'forbidden',
        field: 'projectId',
      })
    expect((await objectAccess.view(ann, kind, id)).project).toBeNull()
  }
  const annIn = (role: string) => [
    { to: { type: 'person', id: BEN.userId }, role: 'admin' },
    { to: { type: 'person', id: ANN.userId }, role },
  ]
  await projects.update(ben, project.id, { members: annIn('member') } as never, null)
  await objectAccess.update(ann, 'vm', vm.id, { projectId: project.id }, null)
  await projects.update(ben, project.id, { members: annIn('operator') } as never, null)
  const other = await now.engine.vms.create(ben, { ...VmSpecInput.parse(spec('of the house')), project: project.id })
  await expect(objectAccess.update(ann, 'vm', other.id, { projectId: null }, null)).rejects.toMatchObject({
    code: 'forbidden',
  })
})

test('somebody who has gone does not keep a project from being changed; of two who change a group, a role or a project at once one is told (A21)', async () => {
  const { projects } = now.engine
  const GONE = '01890000-0000-7000-8000-0000000000f1'
  now.store.put('user', GONE, { id: GONE, name: 'gone', role: 'member' })
  const self = { to: { type: 'person', id: ANN.userId }, role: 'admin' }
  const gone = { to: { type: 'person', id: GONE }, role: 'member' }
  const input = { name: 'outlives its people', description: '', members: [gone] }
  const project = await projects.create(ann, input as never)
  now.store.delete('user', GONE)
  const grown = { members: [self, gone, toBen('viewer')] }
  await projects.update(ann, project.id, grown as never, project.revision)
  const raised = { members: [self, { ...gone, role: 'admin' }] }
  await expect(projects.update(ann, project.id, raised as never, null)).rejects.toMatchObject({ code: 'bad_input' })

  const group = await projects.createGroup(ada, { name: 'shift', memberIds: [], external: null })
  const role = await projects.createRole(ada, {
    ...{ name: 'looks', description: '', privileges: ['vm.view'], reach: 'own' },
  })
  const outcomes = async (work: readonly Promise<unknown>[]) =>
    (await Promise.allSettled(work)).map((one) => (one.status === 'rejected' ? one.reason.code : 'saved'))
  const withMember = (id: string) => ({ memberIds: [id] }) as never
  expect(
    await outcomes([
      projects.updateGroup(ada, group.id, withMember(ANN.userId), group.revision),
      projects.updateGroup(ada, group.id, withMember(BEN.userId), group.revision),
    ]),
  ).toEqual(['saved', 'stale_revision'])
  expect(
    await outcomes([
      projects.updateRole(ada, role.id, { privileges: ['vm.view', 'vm.power'] }, role.revision),
      projects.updateRole(ada, role.id, { privileges: ['vm.view', 'image.view'] }, role.revision),
    ]),
  ).toEqual(['saved', 'stale_revision'])
  const members = (await projects.groups()).items.find(({ id }) => id === group.id)
  expect(members?.members.map(({ id }) => id)).toEqual([ANN.userId])
  expect(members?.revision).toBe(group.revision + 1)
})

test('who only looks in a project takes no disk of it into a VM of theirs, also one that was theirs (R11)', async () => {
  const { objectAccess, projects, volumes, vms } = now.engine
  const project = await projects.create(ada, { name: 'disks', description: '', members: [] })
  const members = (role: string) =>
    projects.update(ada, project.id, { members: [{ to: { type: 'person', id: ANN.userId }, role }] } as never, null)
  await members('member')
  const disk = await volumes.create(ann, { name: 'given away', sizeGiB: 1 } as never)
  await objectAccess.update(ann, 'volume', disk.id, { projectId: project.id }, null)
  const take = (name: string) =>
    vms.create(ann, VmSpecInput.parse({ ...spec(name), disks: [{ device: 'disk', volume: disk.id }] }))
  await members('viewer')
  await expect(take('taker')).rejects.toMatchObject({ code: 'forbidden', field: 'disks.0.volume' })
  const mine = await create(ann, spec('mine to fill'))
  await expect(now.engine.authorize(ann, 'volume.change', 'volume', disk.id)).rejects.toMatchObject({
    code: 'forbidden',
  })
  await expect(
    vms.update(ann, mine.id, { disks: [{ device: 'disk', volume: disk.id }] } as never, null),
  ).rejects.toMatchObject({ code: 'forbidden' })
  await members('member')
  expect((await take('taker')).name).toBe('taker')
})

test('somebody with limits gets no more by beginning projects: those begin without room, and an administrator gives it', async () => {
  const { projects, usage } = now.engine
  const person = { type: 'person', id: ANN.userId } as const
  await usage.setQuota(ada, person, { vms: 1, consoles: 3 })
  const input = (name: string) => ({ name, description: '', members: [] })
  const project = await projects.create(ann, input('more for me'))
  const put = () => now.engine.vms.create(ann, { ...VmSpecInput.parse(spec('beyond')), project: project.id })
  await expect(put()).rejects.toMatchObject({ code: 'quota_exceeded', details: { item: 'vms', limit: 0 } })
  const { holders } = await usage.view(ada)
  const limits = holders.find(({ id }) => id === project.id)?.limits
  // Consoles are somebody's, never a project's.
  expect(limits).toMatchObject({ vms: 0, vcpus: null, consoles: null })
  await usage.setQuota(ada, { type: 'project', id: project.id }, { vms: 1 })
  await put()
  const free = await projects.create(ada, input('on purpose'))
  expect((await usage.view(ada)).holders.find(({ id }) => id === free.id)?.limits.vms).toBeNull()
  await usage.setQuota(ada, person, null)
})

test('a VM, its disk and a free disk say which project they are of, to whoever sees them', async () => {
  const project = await now.engine.projects.create(ann, { name: 'shelf', description: '', members: [] })
  const disks = [{ device: 'disk', sizeGiB: 1 }]
  const vm = await now.engine.vms.create(ann, {
    ...VmSpecInput.parse({ ...spec('on the shelf'), disks }),
    project: project.id,
  })
  const free = await now.engine.volumes.create(ann, { name: 'loose', sizeGiB: 1, format: 'qcow2' } as never)
  const whose = async (id: string) =>
    (await now.engine.volumes.list(ann)).items.find((disk) => disk.id === id || disk.vm?.id === id)?.project ?? null
  const shelf = { id: project.id, name: 'shelf' }
  expect(vm.project).toEqual(shelf)
  expect(await whose(vm.id)).toEqual(shelf)
  expect(await whose(free.id)).toBeNull()
  await now.engine.objectAccess.update(ann, 'volume', free.id, { projectId: project.id } as never, null)
  expect(await whose(free.id)).toEqual(shelf)
  expect((await now.engine.projects.view(ann, project.id)).counts).toMatchObject({ vms: 1, volumes: 1 })
})

test('a bridge that is open to a project is for its VMs alone, and a VM that is on it does not leave with it', async () => {
  const { networks, projects, objectAccess, vms } = now.engine
  const project = await projects.create(ann, { name: 'wired', description: '', members: [] })
  const onBridge = (name: string, bridge: string) => ({
    ...spec(name),
    networks: [{ network: 'bridge' as const, bridge }],
  })
  const inProject = (name: string, bridge: string) =>
    vms.create(ann, { ...VmSpecInput.parse(onBridge(name, bridge)), project: project.id })
  const refused = { code: 'forbidden', details: { field: 'networks.0.network' } }
  const field = (error: unknown) => {
    const { code, field } = error as { code: string; field?: string }
    return { code, details: { field } }
  }
  expect(await inProject('early', 'gdbr0').catch(field)).toEqual(refused)

  const input = { description: '', everybody: false, projectIds: [project.id] }
  const lan = await networks.create(ada, { ...input, name: 'LAN', bridge: 'gdbr0' })
  await expect(networks.create(ada, { ...input, name: 'lan', bridge: 'gdbr1' })).rejects.toMatchObject({
    code: 'name_taken',
  })
  const vm = await inProject('wired', 'gdbr0')
  expect(await inProject('other', 'gdbr1').catch(field)).toEqual(refused)
  expect(await create(ann, onBridge('own', 'gdbr0')).catch(field)).toEqual(refused)
  expect(await create(ben, onBridge('own', 'gdbr0')).catch(field)).toEqual(refused)
  expect((await networks.list(ann)).items).toMatchObject([
    { name: 'LAN', bridge: 'gdbr0', projects: [{ name: 'wired' }], vms: [{ id: vm.id, name: 'wired' }] },
  ])
  expect((await networks.list(ben)).items).toEqual([])
  await expect(objectAccess.update(ann, 'vm', vm.id, { projectId: null }, null)).rejects.toMatchObject({
    code: 'forbidden',
    field: 'projectId',
  })

  // A snapshot of a VM on it, taken off it since.
  const kept = await vms.create(ann, {
    ...VmSpecInput.parse({ ...onBridge('kept', 'gdbr0'), disks: [{ device: 'disk', sizeGiB: 1 }] }),
    project: project.id,
  })
  const taking = await now.engine.snapshots.create(ann, kept.id, SnapshotInput.parse({ kind: 'disk' }))
  const ended = (jobId: string) =>
    until(
      () => now.engine.jobs.view(ann, jobId),
      ({ endedAt }) => endedAt !== null,
      60_000,
    )
  const snapshotId = (await ended(taking.id)).result ?? ''
  await vms.update(ann, kept.id, VmSpecPatch.parse({ networks: [] }), null)

  // Closed to it, what is plugged in stays, and nothing more comes.
  await networks.update(ada, lan.id, { projectIds: [] }, lan.revision)
  await expect(networks.update(ada, lan.id, { name: 'x' }, lan.revision)).rejects.toMatchObject({
    code: 'stale_revision',
  })
  const changed = await vms.update(ann, vm.id, { memoryMiB: 96 } as never, null)
  expect(changed.spec.networks).toMatchObject([{ network: 'bridge', bridge: 'gdbr0' }])
  expect(await inProject('late', 'gdbr0').catch(field)).toEqual(refused)
  const goBack = (definition: 'restore' | 'keep') =>
    now.engine.snapshots.revert(ann, kept.id, snapshotId, SnapshotRevertInput.parse({ definition }))
  await expect(goBack('restore')).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining('Keep the present definition'),
  })
  expect(await ended((await goBack('keep')).id)).toMatchObject({ state: 'done' })
  expect((await vms.view(ann, kept.id)).spec.networks).toEqual([])
  // Open to everybody it is for those in no project too.
  await networks.update(ada, lan.id, { everybody: true }, null)
  await create(ben, onBridge('bens', 'gdbr0'))
  expect((await networks.list(ben)).items).toMatchObject([{ name: 'LAN', projects: [], vms: [{ name: 'bens' }] }])
  await networks.delete(ada, lan.id)
  expect((await networks.list(ada)).items).toEqual([])
})
