/**
 * For tests: the whole engine on a real store, a real supervisor and real QEMU under TCG; only the accelerator verdict is
 * given. Importing it creates a data directory and cleans up after every test; each test file gets its own.
 */
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { Role } from '#lib/schema/user.ts'
import { VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { createCapabilitiesProbe } from '#server/capabilities/probe.ts'
import { viewCapabilities } from '#server/capabilities/view.ts'
import { readConfig } from '#server/config.ts'
import { createSerialHub } from '#server/console/serial-hub.ts'
import { createTickets } from '#server/console/tickets.ts'
import { type ConsoleRooms, NOBODY } from '#server/console/types.ts'
import { EventHub } from '#server/events/hub.ts'
import { listOffers } from '#server/host/offers.ts'
import type { LabClock } from '#server/lab/time.ts'
import { dataPaths } from '#server/paths.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { openStore } from '#server/store/sqlite.ts'
import { keep, takeKept } from '#server/testing/kept.ts'
import { createSupervisor } from '#server/vm/supervisor.ts'
import { createEngine, type RunningEngine } from './create.ts'
import type { EngineDeps } from './deps.ts'
import type { LabTimes } from './lab.ts'
import type { SeedTimes } from './seed-use.ts'
import type { Caller } from './types.ts'

export const isRoot = process.getuid?.() === 0
const root = mkdtempSync(join(tmpdir(), 'gd-eng-'))
export const imageDir = join(root, 'isos')
/** Guests' users may pass it, which they may not pass what is the dashboard's own. */
export const shareDir = mkdtempSync(join(tmpdir(), 'gd-share-'))
chmodSync(shareDir, 0o755)
/** Below it tests may make storage pools. */
export const poolRoot = mkdtempSync(join(tmpdir(), 'gd-pools-'))
chmodSync(poolRoot, 0o755)
export const data = dataPaths(join(root, 'data'))
const config = readConfig(
  {
    GUESTDECK_DATA: data.root,
    GUESTDECK_RUN: join(root, 'r'),
    GUESTDECK_IMAGE_DIRS: imageDir,
    GUESTDECK_SHARE_DIRS: shareDir,
    GUESTDECK_POOL_DIRS: poolRoot,
    GUESTDECK_PORT: '18686',
    // To run the same tests with another QEMU.
    GUESTDECK_QEMU: process.env.GUESTDECK_QEMU,
  } as unknown as NodeJS.ProcessEnv,
  {},
  isRoot,
)

export const { runDir } = config

/** No console is opened in these tests; how many watch is what a test says. */
const emptyRooms: ConsoleRooms = {
  viewers: () => ({ vnc: options.viewers ?? 0, serial: 0 }),
  presence: () => NOBODY,
  watching: () => [],
  guests: () => 0,
  end: () => false,
  give: () => null,
  setRecordings: () => {},
}

const caller = (n: number, name: string, role: Role): Caller => ({
  userId: `01890000-0000-7000-8000-00000000000${n}`,
  name,
  role,
  from: '127.0.0.1',
  credentialId: `c${n}`,
  via: 'session',
})
export const ADMIN = caller(1, 'ada', 'admin')
export const ANN = caller(2, 'ann', 'operator')
export const BEN = caller(3, 'ben', 'operator')
export const EYE = caller(4, 'eye', 'viewer')

/** Of the next server run (`anotherRun`). */
export const options: {
  seedTimes?: SeedTimes
  poolTimes?: NonNullable<EngineDeps['poolTimes']>
  fileHelpers?: NonNullable<EngineDeps['fileHelpers']>
  labClock?: LabClock
  labTimes?: LabTimes
  hostDevices?: HostDevices
  viewers?: number
} = {}

interface Run {
  engine: RunningEngine
  store: ReturnType<typeof openStore>
  hub: EventHub
  supervisor: ReturnType<typeof createSupervisor>
}

/** A host without any device of its own. */
const hostFacts = { manager: null, isRoot, kernel: [], iommu: { enabled: false, reason: 'None.' }, hasUsb: false }

export const NO_HOST_DEVICES: HostDevices = {
  iommu: { enabled: false, groups: 0, reason: 'None.' },
  ...{ pci: [], usb: [], hugePages: [], numa: [], cpus: [], kernel: [], interfaces: [] },
  mdev: { types: [], instances: [] },
}

async function run(): Promise<Run> {
  prepareDataDir(data.root, isRoot, () => {})
  if (!existsSync(data.capabilitiesCache)) takeKept('capabilities-of-ours.json', data.capabilitiesCache)
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
    rooms: emptyRooms,
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
      capabilities: async () => {
        const found = await probe.get()
        return viewCapabilities(found, 'tcg', listOffers(found, hostFacts))
      },
      deviceType: async () => {
        throw new Error('not part of this test')
      },
      devices: async () => options.hostDevices ?? NO_HOST_DEVICES,
    },
    identity: guestIdentity(isRoot),
    ...(options.fileHelpers && { fileHelpers: options.fileHelpers }),
    ...(options.labClock && { labClock: options.labClock }),
    ...(options.labTimes && { labTimes: options.labTimes }),
    ...(options.seedTimes && { seedTimes: options.seedTimes }),
    ...(options.poolTimes && { poolTimes: options.poolTimes }),
    log: { info() {}, warn() {}, error() {} },
  })
  keep('capabilities-of-ours.json', data.capabilitiesCache)
  return { engine, store, hub, supervisor }
}

/** The present server run. */
export let now: Run
const stop = async ({ engine, store }: Run) => {
  await engine.close()
  store.close()
}

/** Ends this server run, does something while none runs, and begins another. Guests go on. */
export async function anotherRun(meanwhile: () => void): Promise<void> {
  await stop(now)
  meanwhile()
  now = await run()
}

beforeAll(async () => {
  // Its parent is root's alone, as mktemp makes it: the engine opens the way for guests.
  now = await run()
  for (const { userId, name, role } of [ADMIN, ANN, BEN, EYE]) now.store.put('user', userId, { id: userId, name, role })
})
afterEach(async () => {
  const { engine } = now
  for (const vm of (await engine.vms.list(ADMIN)).items) {
    if (vm.state !== 'off' && vm.state !== 'crashed') await engine.vms.poweroff(ADMIN, vm.id)
    await engine.vms.delete(ADMIN, vm.id, null)
  }
  for (const volume of (await engine.volumes.list(ADMIN)).items)
    if (volume.trashedAt === null) await engine.volumes.delete(ADMIN, volume.id)
  expect((await engine.volumes.emptyTrash(ADMIN)).kept).toBe(0)
  for (const pool of (await engine.pools.list(ADMIN)).items)
    if (!pool.builtIn) await engine.pools.delete(ADMIN, pool.id)
  for (const image of (await engine.images.list(ADMIN)).items) await engine.images.delete(ADMIN, image.id)
  expect(readdirSync(data.vmsDir)).toEqual([])
  expect(readdirSync(data.layersDir)).toEqual([])
  expect(readdirSync(data.imagesDir)).toEqual([])
  expect(readdirSync(data.uploadsDir)).toEqual([])
})
afterAll(async () => {
  await stop(now)
  for (const dir of [root, shareDir, poolRoot]) rmSync(dir, { recursive: true, force: true })
})

export const create = (who: Caller, input: unknown) => now.engine.vms.create(who, VmSpecInput.parse(input))
export const update = (who: Caller, id: string, patch: unknown, revision: number | null = null) =>
  now.engine.vms.update(who, id, VmSpecPatch.parse(patch), revision)
export const nothingMade = () => expect(readdirSync(data.vmsDir)).toEqual([])

/** A disk whose boot sector writes "Gd!" to the first serial port and halts. */
export function bootDisk(): Buffer {
  const image = Buffer.alloc(2 ** 20)
  const text = [...'Gd!\n'].flatMap((c) => [0xb0, c.charCodeAt(0), 0xee])
  // mov dx, 0x3f8; (mov al, c; out dx, al)…; hlt; jmp -3
  Buffer.from([0xba, 0xf8, 0x03, ...text, 0xf4, 0xeb, 0xfd]).copy(image)
  image[510] = 0x55
  image[511] = 0xaa
  return image
}
/** Of a copy: what is uploaded is taken over. */
export const upload = (who: Caller, image: Buffer, name = 'boot.img') =>
  now.engine.images.upload(who, { name }, Readable.from([Buffer.from(image)], { objectMode: false }), image.length)

export async function until<T>(what: () => T | Promise<T>, good: (value: T) => boolean, ms = 20_000): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await what()
    if (good(value)) return value
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(value)}`)
    await sleep(50)
  }
}
