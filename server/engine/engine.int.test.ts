/** VMs through the whole engine, with real QEMU. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { Vm } from '#lib/schema/vm-state.ts'
import {
  ADMIN,
  ANN,
  anotherRun,
  BEN,
  bootDisk,
  create,
  data,
  EYE,
  isRoot,
  nothingMade,
  now,
  until,
  update,
  upload,
} from './test-rig.ts'
import type { Caller } from './types.ts'

describe('creating', () => {
  it('a VM with a disk on a library image boots it, and the image stays as it was', async () => {
    const bytes = bootDisk()
    const image = await upload(ANN, bytes)
    expect(image).toMatchObject({ kind: 'disk', format: 'raw', present: true, usedBy: [] })
    const vm = await create(ANN, {
      name: 'linked',
      memoryMiB: 64,
      cpus: 1,
      disks: [{ device: 'disk', image: image.id, sizeGiB: 1 }],
    })
    Vm.parse(vm)
    expect(vm).toMatchObject({
      state: 'off',
      owner: { name: 'ann' },
      pending: [],
      accelerator: { actual: 'tcg', observed: false },
    })
    const started = await now.engine.vms.start(ANN, vm.id)
    Vm.parse(started)
    expect(started).toMatchObject({ state: 'running', accelerator: { actual: 'tcg', observed: true } })
    const output = () => Buffer.from(now.supervisor.serialHub(vm.id)?.history().head ?? []).toString()
    await until(output, (text) => text.includes('Gd!'))
    const uid = started.live?.uid
    const ownFile = statSync(data.disk(vm.id, started.spec.disks[0]?.id ?? ''))
    expect(ownFile.mode & 0o777).toBe(isRoot ? 0o660 : 0o600)
    if (isRoot) {
      expect(uid).toBeGreaterThan(1000)
      expect(ownFile.uid).toBe(uid)
      const status = readFileSync(`/proc/${started.live?.pid}/status`, 'utf8')
      expect(status).toMatch(/CapEff:\s+0000000000000000/)
      expect(status).toMatch(/NoNewPrivs:\s+1/)
    }
    const { ticket, path } = await now.engine.vms.consoleTicket(ANN, vm.id, {
      kind: 'serial',
      mode: 'control',
      presence: false,
    })
    expect(path).toContain(vm.id)
    expect(now.engine.redeemConsoleTicket(ticket, vm.id, 'serial')).toMatchObject({ userName: 'ann', mode: 'control' })
    const png = await now.engine.vms.screenshot(ANN, vm.id, {})
    const small = await now.engine.vms.screenshot(ANN, vm.id, { width: 160 })
    expect(small.readUInt32BE(16)).toBe(160)
    expect(png.readUInt32BE(16)).toBeGreaterThan(160)
    expect((await now.engine.images.view(ANN, image.id)).usedBy).toEqual([{ id: vm.id, name: 'linked' }])
    await expect(now.engine.images.delete(ADMIN, image.id)).rejects.toMatchObject({ code: 'in_use' })
    expect(readFileSync(data.image(image.id)).equals(bytes)).toBe(true)
    await now.engine.vms.poweroff(ANN, vm.id)
    const off = await now.engine.vms.view(ANN, vm.id)
    expect(off).toMatchObject({ state: 'off', lastExit: { kind: 'operator', by: 'ann' }, revision: vm.revision })
  })

  it('the smallest definition is accepted and its choices are visible', async () => {
    const vm = await create(ANN, { name: 'demo' })
    expect(vm.spec).toMatchObject({ name: 'demo', machine: expect.stringMatching(/^pc-q35-/), firmware: 'bios' })
    expect(vm.actions.start).toEqual({ allowed: true, reason: null })
    expect(vm.actions.shutdown?.allowed).toBe(false)
  })

  it('UEFI variables are made once and survive a change of firmware', async () => {
    const vm = await create(ANN, { name: 'uefi', firmware: 'uefi' })
    const before = statSync(data.nvram(vm.id))
    await update(ANN, vm.id, { firmware: 'bios' })
    await update(ANN, vm.id, { firmware: 'uefi' })
    expect(statSync(data.nvram(vm.id)).ino).toBe(before.ino)
  })

  it('a name counts once per owner, in whatever case; another owner may have it too', async () => {
    await create(ANN, { name: 'Web' })
    await expect(create(ANN, { name: 'web' })).rejects.toMatchObject({ code: 'name_taken', field: 'name' })
    await create(BEN, { name: 'web' })
  })

  it('of two creates at once with one host port exactly one wins, and the loser leaves nothing (N03)', async () => {
    const input = (name: string) => ({
      name,
      networks: [{ forwards: [{ protocol: 'tcp', hostPort: 22_022, guestPort: 22 }] }],
    })
    const results = await Promise.allSettled([create(ANN, input('one')), create(BEN, input('two'))])
    const failed = results.filter((r) => r.status === 'rejected')
    expect(failed).toHaveLength(1)
    expect(failed[0]?.reason).toMatchObject({ code: 'port_in_use', field: 'networks.0.forwards.0.hostPort' })
    // The other's name is none of Ben's business.
    expect(failed[0]?.reason.message).not.toContain('one')
    expect(readdirSync(data.vmsDir)).toHaveLength(1)
  })

  it.each<[string, unknown, object]>([
    [
      'the dashboard’s port',
      { networks: [{ forwards: [{ protocol: 'tcp', hostPort: 18_686, guestPort: 1 }] }] },
      { code: 'port_in_use' },
    ],
    [
      'an unknown image',
      { disks: [{ device: 'cdrom', image: '01890000-0000-7000-8000-0000000000ff' }] },
      { code: 'image_missing', field: 'disks.0.image' },
    ],
    ['more memory than the host has', { memoryMiB: 16_777_216 }, { code: 'bad_input', field: 'memoryMiB' }],
    ['an unknown CPU model', { cpuModel: 'z80' }, { code: 'bad_input', field: 'cpuModel' }],
    [
      'a disk called like the UEFI variables',
      { disks: [{ device: 'disk', id: 'nvram', sizeGiB: 1 }] },
      { code: 'bad_input', field: 'disks.0.id' },
    ],
  ])('%s is refused and nothing is made', async (_, extra, error) => {
    await expect(create(ANN, { name: 'bad', ...(extra as object) })).rejects.toMatchObject(error)
    nothingMade()
  })

  it('a create that fails half way removes what it had made', async () => {
    const spec = {
      name: 'half',
      disks: [
        { device: 'disk', id: 'a', sizeGiB: 1 },
        { device: 'disk', id: 'b', sizeGiB: 1 },
      ],
    }
    // Somebody plants a file where the second disk would go; once, so as not to plant while all is removed.
    const planted = new Set<string>()
    const planting = setInterval(() => {
      for (const id of readdirSync(data.vmsDir)) {
        if (planted.has(id)) continue
        planted.add(id)
        writeFileSync(data.disk(id, 'b'), 'planted')
      }
    }, 1)
    try {
      await expect(create(ANN, spec)).rejects.toMatchObject({ code: 'conflict' })
    } finally {
      clearInterval(planting)
    }
    nothingMade()
    expect((await now.engine.vms.list(ADMIN)).items).toEqual([])
  })

  it('a preview shows the plan and makes nothing', async () => {
    const { spec, commandLine } = await now.engine.vms.preview(
      ANN,
      VmSpecInput.parse({ name: 'later', disks: [{ device: 'disk', sizeGiB: 8 }] }),
    )
    expect(spec.disks).toHaveLength(1)
    expect(commandLine).toMatchObject({ applies: 'next', accelerator: { actual: 'tcg', observed: false } })
    expect(commandLine.shell).toContain('-uuid')
    expect(commandLine.options.every((option) => !option.changed)).toBe(true)
    nothingMade()
  })
})

describe('who sees what', () => {
  it('an operator’s VM is not there for another operator, in every operation', async () => {
    const vm = await create(ANN, { name: 'mine' })
    const { vms } = now.engine
    expect((await vms.list(BEN)).items).toEqual([])
    expect(vms.listText?.(BEN)).toBe('{"items":[]}')
    const attempts = [
      vms.view(BEN, vm.id),
      update(BEN, vm.id, { name: 'theirs' }),
      vms.delete(BEN, vm.id, null),
      vms.start(BEN, vm.id),
      vms.poweroff(BEN, vm.id),
      vms.commandLine(BEN, vm.id, { of: 'next' }),
      vms.screenshot(BEN, vm.id, {}),
      vms.consoleTicket(BEN, vm.id, { kind: 'vnc', mode: 'view', presence: false }),
      vms.activity(BEN, vm.id, { limit: 10 }),
    ]
    for (const attempt of attempts) await expect(attempt).rejects.toMatchObject({ code: 'not_found' })
    expect((await now.engine.activity(BEN, { limit: 50 })).items.filter((line) => line.objectId === vm.id)).toEqual([])
  })

  it('a viewer sees every VM and every action refused with a reason', async () => {
    await create(ANN, { name: 'seen' })
    const [vm] = (await now.engine.vms.list(EYE)).items
    expect(vm?.actions.start).toEqual({ allowed: false, reason: 'You may look but not change.' })
    expect(JSON.parse(now.engine.vms.listText?.(EYE) ?? '')).toEqual({ items: [vm] })
    await expect(now.engine.vms.start(EYE, vm?.id ?? '')).rejects.toMatchObject({ code: 'forbidden' })
    const denied = (await now.engine.activity(ADMIN, { limit: 5 })).items
    expect(denied[0]).toMatchObject({ what: 'vmStart', result: 'denied', who: 'eye', objectName: 'seen' })
  })

  it('a viewer may watch a console, not use it; a guest that is off has none', async () => {
    const vm = await create(ANN, { name: 'watched', memoryMiB: 64 })
    const ticket = (who: Caller, mode: 'view' | 'control') =>
      now.engine.vms.consoleTicket(who, vm.id, { kind: 'vnc', mode, presence: false })
    await expect(ticket(ANN, 'control')).rejects.toMatchObject({ code: 'wrong_state' })
    await now.engine.vms.start(ANN, vm.id)
    await expect(ticket(EYE, 'control')).rejects.toMatchObject({ code: 'forbidden' })
    const given = await ticket(EYE, 'view')
    const grant = now.engine.redeemConsoleTicket(given.ticket, vm.id, 'vnc')
    expect(grant).toMatchObject({ userName: 'eye', mode: 'view' })
    expect(now.engine.redeemConsoleTicket(given.ticket, vm.id, 'vnc')).toBeNull()
    const lines = async () =>
      (await now.engine.vms.activity(ADMIN, vm.id, { limit: 3 })).items.map(({ result, who, text }) => [
        result,
        who,
        text,
      ])
    // A ticket shows nobody anything: what counts is the console it opens, and how that ended.
    const before = await lines()
    expect(before[0]?.slice(0, 2)).toEqual(['denied', 'eye'])
    if (grant === null) throw new Error('no grant')
    const session = { id: 's', grant, from: '127.0.0.1', openedAt: new Date() }
    now.engine.consoles.opened(session)
    const end = { bytesToViewer: 0, bytesFromViewer: 0 }
    now.engine.consoles.closed(session, { ...end, code: 4401, reason: 'signed out', durationMs: 150_000 })
    expect(await lines()).toEqual([
      ['info', 'eye', 'eye left the screen of watched after 3 min (signed out).'],
      ['ok', 'eye', 'eye opened the screen of watched (view only).'],
      before[0],
    ])
  })

  it('events reach those who may see the VM, with the actions of their role', async () => {
    const got: Record<string, { kind: string; id: string | null; allowed: unknown }[]> = {}
    const stops = [ADMIN, ANN, BEN, EYE].map((who) => {
      const lines: { kind: string; id: string | null; allowed: unknown }[] = []
      got[who.name] = lines
      return now.engine.events.subscribe(who, null, ({ kind, topic, id }, text) => {
        if (topic !== 'vm') return
        lines.push({ kind, id, allowed: JSON.parse(text).object?.actions.start.allowed })
      })
    })
    const vm = await create(ANN, { name: 'told' })
    await now.engine.vms.delete(ANN, vm.id, null)
    for (const end of stops) end()
    const gone = { kind: 'gone', id: vm.id, allowed: undefined }
    expect(got.ann).toEqual([{ kind: 'change', id: vm.id, allowed: true }, gone])
    expect(got.ada).toEqual(got.ann)
    expect(got.eye).toEqual([{ kind: 'change', id: vm.id, allowed: false }, gone])
    expect(got.ben).toEqual([])
  })
})

describe('changing', () => {
  it('an edit based on an old revision is refused and loses nothing (A21)', async () => {
    const vm = await create(ANN, { name: 'v1' })
    const second = await update(ANN, vm.id, { description: 'first edit' }, vm.revision)
    await expect(update(ANN, vm.id, { description: 'late edit' }, vm.revision)).rejects.toMatchObject({
      code: 'stale_revision',
    })
    expect((await now.engine.vms.view(ANN, vm.id)).spec.description).toBe('first edit')
    await expect(now.engine.vms.delete(ANN, vm.id, vm.revision)).rejects.toMatchObject({ code: 'stale_revision' })
    expect(second.revision).toBe(vm.revision + 1)
  })

  it('disks come and go with the definition while the VM is off', async () => {
    const vm = await create(ANN, { name: 'disks', disks: [{ device: 'disk', id: 'a', sizeGiB: 1 }] })
    await update(ANN, vm.id, {
      disks: [
        { device: 'disk', id: 'a' },
        { device: 'disk', id: 'b', sizeGiB: 2 },
      ],
    })
    expect(readdirSync(data.vmDir(vm.id)).sort()).toEqual(['a.qcow2', 'b.qcow2'])
    await update(ANN, vm.id, { disks: [{ device: 'disk', id: 'b' }] })
    expect(readdirSync(data.vmDir(vm.id))).toEqual(['b.qcow2'])
    await expect(update(ANN, vm.id, { disks: [{ device: 'disk', id: 'b', sizeGiB: 1 }] })).rejects.toMatchObject({
      code: 'conflict',
      field: 'disks.0.sizeGiB',
    })
    expect(readdirSync(data.vmDir(vm.id))).toEqual(['b.qcow2'])
  })

  it('what a running guest has is pending until it is off, and its removed disk goes only then', async () => {
    const vm = await create(ANN, { name: 'live', memoryMiB: 64, disks: [{ device: 'disk', id: 'a', sizeGiB: 1 }] })
    await now.engine.vms.start(ANN, vm.id)
    const changed = await update(ANN, vm.id, { memoryMiB: 128, disks: [] })
    expect(changed.pending.map((change) => change.path)).toContain('/memoryMiB')
    expect(existsSync(data.disk(vm.id, 'a'))).toBe(true)
    expect(changed.pending).toContainEqual(expect.objectContaining({ path: '/disks/-', waiting: 'guest' }))
    // Another disk cannot have its name; it itself may come back.
    await expect(update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB: 2 }] })).rejects.toMatchObject({
      code: 'conflict',
    })
    const back = await update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB: 1 }] })
    expect(back.pending.map((change) => change.path)).toEqual(['/memoryMiB'])
    await update(ANN, vm.id, { disks: [] })
    const next = await now.engine.vms.commandLine(ANN, vm.id, { of: 'next' })
    const running = await now.engine.vms.commandLine(ANN, vm.id, { of: 'running' })
    expect(next.options.some((option) => option.changed && option.group === 'memory')).toBe(true)
    expect(running).toMatchObject({ applies: 'running', accelerator: { observed: true } })
    await expect(now.engine.vms.delete(ANN, vm.id, null)).rejects.toMatchObject({ code: 'wrong_state' })
    await now.engine.vms.poweroff(ANN, vm.id)
    await until(
      () => existsSync(data.disk(vm.id, 'a')),
      (there) => !there,
    )
    expect((await now.engine.vms.view(ANN, vm.id)).pending).toEqual([])
  })
  it('the boot order of a running guest changes at once and counts from its next reset', async () => {
    const other = bootDisk()
    // The letters of its boot sector: mov al, letter; out dx, al.
    for (const [index, letter] of [...'Two'].entries()) other[4 + 3 * index] = letter.charCodeAt(0)
    const [one, two] = [await upload(ANN, bootDisk()), await upload(ANN, other, 'two.img')]
    const disks = [
      { device: 'disk', id: 'one', image: one.id, bootIndex: 1 },
      { device: 'disk', id: 'two', image: two.id, bootIndex: 2 },
    ]
    const vm = await create(ANN, { name: 'order', memoryMiB: 64, disks, networks: [] })
    await now.engine.vms.start(ANN, vm.id)
    const said = () => {
      const history = now.supervisor.serialHub(vm.id)?.history()
      return Buffer.concat([history?.head ?? Buffer.of(), history?.tail ?? Buffer.of()]).toString('latin1')
    }
    await until(said, (text) => text.includes('Gd!'))
    const [first, second] = vm.spec.disks
    const changed = await update(ANN, vm.id, {
      disks: [
        { ...first, bootIndex: 2 },
        { ...second, bootIndex: 1 },
      ],
    })
    expect(changed.pending).toEqual([])
    expect(said()).not.toContain('Two')
    await now.engine.vms.reset(ANN, vm.id)
    await until(said, (text) => text.includes('Two'))
  })
  it('a change that waits for the guest gives way when its power is cut, and nothing of it is stored', async () => {
    const vm = await create(ANN, { name: 'cut', memoryMiB: 64, disks: [{ device: 'disk', id: 'a', sizeGiB: 1 }] })
    await now.engine.vms.start(ANN, vm.id)
    // No system in the guest: it lets go of nothing.
    const waiting = update(ANN, vm.id, { disks: [{ device: 'disk', id: 'b', sizeGiB: 1 }] })
    const refused = expect(waiting).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('ben') })
    await until(
      () => now.supervisor.runtime(vm.id).launchedSpec?.disks.some((disk) => disk.id === 'b'),
      (plugged) => plugged === true,
    )
    await now.supervisor.poweroff(vm.id, 'ben')
    await refused
    const after = await now.engine.vms.view(ANN, vm.id)
    expect(after).toMatchObject({ revision: vm.revision, state: 'off', pending: [] })
    await until(
      () => existsSync(data.disk(vm.id, 'b')),
      (there) => !there,
    )
    expect(existsSync(data.disk(vm.id, 'a'))).toBe(true)
    expect((await now.engine.vms.start(ANN, vm.id)).state).toBe('running')
  })
})

describe('starting', () => {
  it('an image whose file went is said, by its name and field, and the VM stays off (F30)', async () => {
    const image = await upload(ANN, bootDisk())
    const vm = await create(ANN, { name: 'gone', memoryMiB: 64, disks: [{ device: 'disk', image: image.id }] })
    rmSync(data.image(image.id))
    await expect(now.engine.vms.start(ANN, vm.id)).rejects.toMatchObject({
      code: 'image_missing',
      field: 'disks.0.image',
    })
    expect((await now.engine.vms.view(ANN, vm.id)).state).not.toBe('running')
  })
  it('KVM that is asked for and cannot be had is an error, never TCG', async () => {
    const vm = await create(ANN, { name: 'kvm', accelerator: 'kvm' })
    expect(vm.accelerator).toMatchObject({ actual: null, observed: false })
    await expect(now.engine.vms.start(ANN, vm.id)).rejects.toMatchObject({ code: 'accelerator_unusable' })
  })
})

describe('another server run', () => {
  it('finds the guest still running, the last exit of the others, and sweeps half-made VMs only', async () => {
    const up = await create(ANN, { name: 'up', memoryMiB: 64 })
    const down = await create(ANN, { name: 'down', memoryMiB: 64 })
    const started = await now.engine.vms.start(ANN, up.id)
    await now.engine.vms.start(ANN, down.id)
    await now.engine.vms.poweroff(ANN, down.id)
    const half = '01890000-0000-7000-8000-0000000000dd'
    const orphan = '01890000-0000-7000-8000-0000000000ee'
    await anotherRun(() => {
      for (const id of [half, orphan]) mkdirSync(data.vmDir(id))
      writeFileSync(data.unfinished(half), '')
    })
    expect(now.engine.adopted.adopted).toEqual([up.id])
    expect(await now.engine.vms.view(ANN, up.id)).toMatchObject({ state: 'running', live: { pid: started.live?.pid } })
    expect(await now.engine.vms.view(ANN, down.id)).toMatchObject({ state: 'off', lastExit: { by: 'ann' } })
    expect(existsSync(data.vmDir(half))).toBe(false)
    expect(existsSync(data.vmDir(orphan))).toBe(true)
    rmSync(data.vmDir(orphan), { recursive: true })
  })

  it('starts what should start by itself, once for each boot of the host (F14)', async () => {
    const vm = await create(ANN, { name: 'auto', memoryMiB: 64, autostart: true })
    now.store.put('meta', 'boot-id', 'an earlier boot')
    await now.engine.autostart()
    expect((await now.engine.vms.view(ANN, vm.id)).state).toBe('running')
    await now.engine.vms.poweroff(ANN, vm.id)
    await now.engine.autostart()
    expect((await now.engine.vms.view(ANN, vm.id)).state).toBe('off')
  })
})

it('metrics count VMs by state and carry the numbers of those that run', async () => {
  const vm = await create(ANN, { name: 'metered', memoryMiB: 64 })
  await now.engine.vms.start(ANN, vm.id)
  const text = await now.engine.metrics(ADMIN)
  expect(text).toContain('guestdeck_vms{state="running"} 1')
  expect(text).toContain(`guestdeck_vm_memory_bytes{vm="${vm.id}",name="metered"} ${64 * 2 ** 20}`)
  expect(text).toContain('guestdeck_nodejs_eventloop_lag_seconds')
})
