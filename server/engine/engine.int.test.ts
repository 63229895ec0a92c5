/** The whole engine on a real store, a real supervisor and real QEMU under TCG; only the accelerator verdict is given. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Role } from '#lib/schema/user.ts'
import { VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { Vm } from '#lib/schema/vm-state.ts'
import { createCapabilitiesProbe } from '#server/capabilities/probe.ts'
import { viewCapabilities } from '#server/capabilities/view.ts'
import { readConfig } from '#server/config.ts'
import { createSerialHub } from '#server/console/serial-hub.ts'
import { createTickets } from '#server/console/tickets.ts'
import { EventHub } from '#server/events/hub.ts'
import { dataPaths } from '#server/paths.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createSupervisor } from '#server/vm/supervisor.ts'
import { createEngine, type RunningEngine } from './create.ts'
import type { Caller } from './types.ts'

const isRoot = process.getuid?.() === 0
const root = mkdtempSync(join(tmpdir(), 'gd-eng-'))
const imageDir = join(root, 'isos')
const data = dataPaths(join(root, 'data'))
const config = readConfig(
  {
    GUESTDECK_DATA: data.root,
    GUESTDECK_RUN: join(root, 'r'),
    GUESTDECK_IMAGE_DIRS: imageDir,
    GUESTDECK_PORT: '18686',
  } as unknown as NodeJS.ProcessEnv,
  {},
  isRoot,
)

const caller = (n: number, name: string, role: Role): Caller => ({
  userId: `01890000-0000-7000-8000-00000000000${n}`,
  name,
  role,
  from: '127.0.0.1',
  credentialId: `c${n}`,
  via: 'session',
})
const ADMIN = caller(1, 'ada', 'admin')
const ANN = caller(2, 'ann', 'operator')
const BEN = caller(3, 'ben', 'operator')
const EYE = caller(4, 'eye', 'viewer')

interface Run {
  engine: RunningEngine
  store: ReturnType<typeof openStore>
  hub: EventHub
  supervisor: ReturnType<typeof createSupervisor>
}

async function run(): Promise<Run> {
  prepareDataDir(data.root, isRoot, () => {})
  const store = openStore(data)
  const hub = new EventHub((error) => {
    throw error
  })
  const probe = createCapabilitiesProbe({ binary: config.qemu, cacheFile: data.capabilitiesCache })
  const supervisor = createSupervisor({ runDir: config.runDir, createSerialHub })
  const engine = await createEngine({
    config,
    data,
    store,
    supervisor,
    tickets: createTickets(),
    viewers: { viewers: () => ({ vnc: 0, serial: 0 }) },
    hub,
    capabilities: { current: () => probe.get() },
    accelerator: {
      verdict: () => null,
      decide: (choice) =>
        choice === 'kvm'
          ? { kind: null, reason: 'KVM is switched off for this test.' }
          : { kind: 'tcg', reason: 'This test runs under software emulation.' },
      onChange: () => () => {},
    },
    host: {
      view: async () => {
        throw new Error('not part of this test')
      },
      capabilities: async () => viewCapabilities(await probe.get(), 'tcg'),
    },
    identity: guestIdentity(isRoot),
    log: { info() {}, warn() {}, error() {} },
  })
  return { engine, store, hub, supervisor }
}

let now: Run
const stop = async ({ engine, store }: Run) => {
  await engine.close()
  store.close()
}

beforeAll(async () => {
  // Its parent is root's alone, as mktemp makes it: the engine opens the way for guests.
  now = await run()
  for (const { userId, name } of [ADMIN, ANN, BEN, EYE]) now.store.put('user', userId, { id: userId, name })
})
afterEach(async () => {
  const { engine } = now
  for (const vm of (await engine.vms.list(ADMIN)).items) {
    if (vm.state !== 'off' && vm.state !== 'crashed') await engine.vms.poweroff(ADMIN, vm.id)
    await engine.vms.delete(ADMIN, vm.id, null)
  }
  for (const image of (await engine.images.list(ADMIN)).items) await engine.images.delete(ADMIN, image.id)
  expect(readdirSync(data.vmsDir)).toEqual([])
  expect(readdirSync(data.imagesDir)).toEqual([])
  expect(readdirSync(data.uploadsDir)).toEqual([])
})
afterAll(async () => {
  await stop(now)
  rmSync(root, { recursive: true, force: true })
})

const create = (who: Caller, input: unknown) => now.engine.vms.create(who, VmSpecInput.parse(input))
const update = (who: Caller, id: string, patch: unknown, revision: number | null = null) =>
  now.engine.vms.update(who, id, VmSpecPatch.parse(patch), revision)
const nothingMade = () => expect(readdirSync(data.vmsDir)).toEqual([])

/** A disk whose boot sector writes "Gd!" to the first serial port and halts. */
function bootDisk(): Buffer {
  const image = Buffer.alloc(2 ** 20)
  const text = [...'Gd!\n'].flatMap((c) => [0xb0, c.charCodeAt(0), 0xee])
  // mov dx, 0x3f8; (mov al, c; out dx, al)…; hlt; jmp -3
  Buffer.from([0xba, 0xf8, 0x03, ...text, 0xf4, 0xeb, 0xfd]).copy(image)
  image[510] = 0x55
  image[511] = 0xaa
  return image
}
const upload = (who: Caller, image: Buffer, name = 'boot.img') =>
  now.engine.images.upload(who, { name }, Readable.from([image], { objectMode: false }), image.length)

async function until<T>(what: () => T | Promise<T>, good: (value: T) => boolean, ms = 20_000): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await what()
    if (good(value)) return value
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(value)}`)
    await sleep(50)
  }
}

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
    expect(ownFile.mode & 0o777).toBe(0o600)
    if (isRoot) {
      expect(uid).toBeGreaterThan(1000)
      expect(ownFile.uid).toBe(uid)
      const status = readFileSync(`/proc/${started.live?.pid}/status`, 'utf8')
      expect(status).toMatch(/CapEff:\s+0000000000000000/)
      expect(status).toMatch(/NoNewPrivs:\s+1/)
    }
    const { ticket, path } = await now.engine.vms.consoleTicket(ANN, vm.id, { kind: 'serial', mode: 'control' })
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

  it('of two creates at once with one host port exactly one wins, and the loser leaves nothing', async () => {
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
    // Somebody plants a file where the second disk would go.
    const planting = setInterval(() => {
      for (const id of readdirSync(data.vmsDir)) {
        if (!existsSync(data.disk(id, 'b'))) writeFileSync(data.disk(id, 'b'), 'planted')
      }
    }, 1)
    await expect(create(ANN, spec)).rejects.toMatchObject({ code: 'conflict' })
    clearInterval(planting)
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
      vms.consoleTicket(BEN, vm.id, { kind: 'vnc', mode: 'view' }),
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
      now.engine.vms.consoleTicket(who, vm.id, { kind: 'vnc', mode })
    await expect(ticket(ANN, 'control')).rejects.toMatchObject({ code: 'wrong_state' })
    await now.engine.vms.start(ANN, vm.id)
    await expect(ticket(EYE, 'control')).rejects.toMatchObject({ code: 'forbidden' })
    const given = await ticket(EYE, 'view')
    expect(now.engine.redeemConsoleTicket(given.ticket, vm.id, 'vnc')).toMatchObject({ userName: 'eye', mode: 'view' })
    expect(now.engine.redeemConsoleTicket(given.ticket, vm.id, 'vnc')).toBeNull()
    const lines = (await now.engine.vms.activity(ADMIN, vm.id, { limit: 2 })).items
    expect(lines.map(({ result, who }) => [result, who])).toEqual([
      ['ok', 'eye'],
      ['denied', 'eye'],
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
  it('an edit based on an old revision is refused and loses nothing', async () => {
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
    for (const sizeGiB of [1, 3]) {
      await expect(update(ANN, vm.id, { disks: [{ device: 'disk', id: 'b', sizeGiB }] })).rejects.toMatchObject({
        code: 'bad_input',
        field: 'disks.0.sizeGiB',
      })
    }
    expect(readdirSync(data.vmDir(vm.id))).toEqual(['b.qcow2'])
  })

  it('what a running guest has is pending until it is off, and its removed disk goes only then', async () => {
    const vm = await create(ANN, { name: 'live', memoryMiB: 64, disks: [{ device: 'disk', id: 'a', sizeGiB: 1 }] })
    await now.engine.vms.start(ANN, vm.id)
    const changed = await update(ANN, vm.id, { memoryMiB: 128, disks: [] })
    expect(changed.pending.map((change) => change.path)).toContain('/memoryMiB')
    expect(existsSync(data.disk(vm.id, 'a'))).toBe(true)
    await expect(update(ANN, vm.id, { disks: [{ device: 'disk', id: 'a', sizeGiB: 1 }] })).rejects.toMatchObject({
      code: 'conflict',
    })
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
})

describe('starting', () => {
  it('an image whose file went is said, by its name and field, and the VM stays off', async () => {
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

describe('the library', () => {
  it('a starter of the distribution is offered and added once', async () => {
    const { items } = await now.engine.images.starters(ANN)
    const offered = items.filter((starter) => starter.available)
    for (const missing of items.filter((s) => !s.available)) expect(missing.detail).not.toBe('')
    const [starter] = offered
    if (starter === undefined) return
    const image = await now.engine.images.addStarter(ANN, starter.id)
    expect(image).toMatchObject({ kind: 'iso', source: 'starter', present: true })
    expect((await now.engine.images.addStarter(ANN, starter.id)).id).toBe(image.id)
    expect((await now.engine.images.starters(ANN)).items.find((s) => s.id === starter.id)?.image).toBe(image.id)
  })

  it('Debian’s installer is made into a medium that shows its menu', async () => {
    const installer = (await now.engine.images.starters(ANN)).items.find((s) => s.id === 'debian-netinst')
    expect(installer).toBeDefined()
    if (!installer?.available) {
      expect(installer?.installCommand).toContain('apt-get install')
      await expect(now.engine.images.addStarter(ANN, 'debian-netinst')).rejects.toMatchObject({ code: 'image_missing' })
      return
    }
    const image = await now.engine.images.addStarter(ANN, 'debian-netinst')
    expect(image).toMatchObject({ kind: 'iso', guest: 'linux', label: 'DEBIAN_NETBOOT', source: 'starter' })
    const vm = await create(ANN, { name: 'inst', memoryMiB: 512, disks: [{ device: 'cdrom', image: image.id }] })
    await now.engine.vms.start(ANN, vm.id)
    const output = () => Buffer.from(now.supervisor.serialHub(vm.id)?.history().head ?? []).toString()
    await until(output, (text) => text.includes('Install Debian over the network'), 60_000)
  })

  it('two who add the same starter at once get one image', async () => {
    const [starter] = (await now.engine.images.starters(ANN)).items.filter((s) => s.available)
    if (starter === undefined) return
    const both = await Promise.all([ANN, BEN].map((who) => now.engine.images.addStarter(who, starter.id)))
    expect(both[0]?.id).toBe(both[1]?.id)
    expect((await now.engine.images.list(ADMIN)).items).toHaveLength(1)
  })

  it('who uses an image is told when it changes, and only VMs the reader may see', async () => {
    const image = await upload(ANN, bootDisk())
    const seen: Record<string, string[][]> = { ann: [], ben: [] }
    const stops = [ANN, BEN].map((who) =>
      now.engine.events.subscribe(who, null, ({ topic, object }) => {
        if (topic !== 'image') return
        const { usedBy } = object as unknown as { usedBy: { name: string }[] }
        seen[who.name]?.push(usedBy.map((vm) => vm.name))
      }),
    )
    const vm = await create(ANN, { name: 'user', disks: [{ device: 'disk', image: image.id }] })
    await update(ANN, vm.id, { disks: [] })
    for (const end of stops) end()
    expect(seen).toEqual({ ann: [['user'], []], ben: [[], []] })
  })

  it('a file of an allowed directory is registered as a job, read where it is, and stays when deleted', async () => {
    const { mkdirSync, symlinkSync, appendFileSync, chmodSync } = await import('node:fs')
    mkdirSync(imageDir, { recursive: true, mode: 0o755 })
    chmodSync(imageDir, 0o755)
    const file = join(imageDir, 'there.img')
    writeFileSync(file, bootDisk(), { mode: 0o644 })
    symlinkSync('/etc/passwd', join(imageDir, 'link.img'))
    const { images, jobs } = now.engine
    expect((await images.sources(ADMIN)).files).toEqual([{ path: file, sizeBytes: 2 ** 20 }])
    if (isRoot) {
      chmodSync(file, 0o600)
      await expect(images.register(ADMIN, { path: file })).rejects.toMatchObject({ code: 'image_refused' })
      chmodSync(file, 0o644)
    }
    for (const path of ['/etc/passwd', join(imageDir, '..', 'data', 'state.db'), join(imageDir, 'link.img')]) {
      await expect(images.register(ADMIN, { path })).rejects.toMatchObject({ code: 'forbidden' })
    }
    const job = await images.register(ADMIN, { path: file, name: 'kept.img' })
    const done = await until(
      () => jobs.view(ADMIN, job.id),
      (view) => view.state !== 'running',
    )
    expect(done).toMatchObject({ state: 'done', progress: 1 })
    await expect(jobs.view(ANN, job.id)).rejects.toMatchObject({ code: 'not_found' })
    await expect(images.register(ADMIN, { path: file })).rejects.toMatchObject({ code: 'conflict' })
    const image = await images.view(ADMIN, done.result ?? '')
    expect(image).toMatchObject({
      name: 'kept.img',
      source: 'registered',
      present: true,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    const vm = await create(ANN, { name: 'reg', memoryMiB: 64, disks: [{ device: 'disk', image: image.id }] })
    expect((await now.engine.vms.start(ANN, vm.id)).state).toBe('running')
    await now.engine.vms.poweroff(ANN, vm.id)
    appendFileSync(file, Buffer.alloc(512))
    await expect(now.engine.vms.start(ANN, vm.id)).rejects.toMatchObject({ code: 'image_missing' })
    expect((await images.view(ADMIN, image.id)).present).toBe(false)
    await now.engine.vms.delete(ANN, vm.id, null)
    await images.delete(ADMIN, image.id)
    expect(existsSync(file)).toBe(true)
  })
})

describe('another server run', () => {
  it('finds the guest still running, the last exit of the others, and sweeps half-made VMs only', async () => {
    const up = await create(ANN, { name: 'up', memoryMiB: 64 })
    const down = await create(ANN, { name: 'down', memoryMiB: 64 })
    const started = await now.engine.vms.start(ANN, up.id)
    await now.engine.vms.start(ANN, down.id)
    await now.engine.vms.poweroff(ANN, down.id)
    await stop(now)
    const half = '01890000-0000-7000-8000-0000000000dd'
    const orphan = '01890000-0000-7000-8000-0000000000ee'
    const { mkdirSync } = await import('node:fs')
    for (const id of [half, orphan]) mkdirSync(data.vmDir(id))
    writeFileSync(join(data.vmDir(half), '.unfinished'), '')
    now = await run()
    expect(now.engine.adopted.adopted).toEqual([up.id])
    expect(await now.engine.vms.view(ANN, up.id)).toMatchObject({ state: 'running', live: { pid: started.live?.pid } })
    expect(await now.engine.vms.view(ANN, down.id)).toMatchObject({ state: 'off', lastExit: { by: 'ann' } })
    expect(existsSync(data.vmDir(half))).toBe(false)
    expect(existsSync(data.vmDir(orphan))).toBe(true)
    rmSync(data.vmDir(orphan), { recursive: true })
  })

  it('starts what should start by itself, once for each boot of the host', async () => {
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
  const text = await now.engine.metrics()
  expect(text).toContain('guestdeck_vms{state="running"} 1')
  expect(text).toContain(`guestdeck_vm_memory_bytes{vm="${vm.id}",name="metered"} ${64 * 2 ** 20}`)
  expect(text).toContain('guestdeck_nodejs_eventloop_lag_seconds')
})
