/**
 * What was asked → the complete spec. Pure: images, capabilities and fresh addresses are handed in.
 *
 * Defaults by guest kind: Linux 2 CPUs and 2 GiB, Windows 2 CPUs, 4 GiB, UEFI where installed, local time and a 64 GiB
 * blank disk size, BSD 1 CPU and 1 GiB, anything else 1 CPU and 1 GiB. Linux and Windows get virtio-vga, the others
 * the standard VGA card that every system drives. Disks are as given, none when left out.
 */
import type { GuestKind, VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { ceilGiB } from '#lib/units.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { checkCapabilities, checkDeviceCount, checkImages, checkStructure, type SpecProblem } from './check.ts'
import { isReservedId, MAX_ROOT_PORTS, SATA_PORTS } from './ids.ts'
import type { NormalizeFacts } from './types.ts'

type DriveInput = NonNullable<VmSpecInput['disks']>[number]
type CardInput = NonNullable<VmSpecInput['networks']>[number]
type Drive = VmSpec['disks'][number]
type Card = VmSpec['networks'][number]

interface GuestDefaults {
  readonly cpus: number
  readonly memoryMiB: number
  readonly blankDiskGiB: number
  readonly display: 'virtio-vga' | 'std'
  readonly clock: VmSpec['clock']
  readonly prefersUefi: boolean
}

export const GUEST_DEFAULTS: Readonly<Record<GuestKind, GuestDefaults>> = {
  linux: { cpus: 2, memoryMiB: 2048, blankDiskGiB: 20, display: 'virtio-vga', clock: 'utc', prefersUefi: false },
  windows: { cpus: 2, memoryMiB: 4096, blankDiskGiB: 64, display: 'virtio-vga', clock: 'localtime', prefersUefi: true },
  bsd: { cpus: 1, memoryMiB: 1024, blankDiskGiB: 20, display: 'std', clock: 'utc', prefersUefi: false },
  other: { cpus: 1, memoryMiB: 1024, blankDiskGiB: 20, display: 'std', clock: 'utc', prefersUefi: false },
}

const throwFirst = (problems: readonly SpecProblem[]): void => {
  const first = problems[0]
  if (first === undefined) return
  throw new EngineError(first.code, first.message, {
    field: first.field,
    ...(problems.length > 1
      ? { details: { problems: problems.map(({ field, message }) => ({ field, message })) } }
      : {}),
  })
}

/**
 * Fills in everything left out.
 * @throws EngineError bad_input or image_missing with `field`; `details.problems` lists all when there are several
 */
export function normalizeSpec(input: VmSpecInput, facts: NormalizeFacts): VmSpec {
  const disksInput = input.disks ?? []
  const networksInput = input.networks ?? [{}]
  throwFirst(tooMany(disksInput, networksInput))
  const guest = input.guest ?? guessGuest(disksInput, facts) ?? 'other'
  const defaults = GUEST_DEFAULTS[guest]
  const { disks, networks } = completeDevices(disksInput, networksInput, { disks: [], networks: [] }, guest, facts)
  const { capabilities } = facts
  const spec: VmSpec = {
    name: input.name,
    description: input.description ?? '',
    tags: input.tags ?? [],
    guest,
    cpus: input.cpus ?? defaults.cpus,
    cpuModel: input.cpuModel ?? 'auto',
    memoryMiB: input.memoryMiB ?? defaults.memoryMiB,
    accelerator: input.accelerator ?? 'auto',
    machine: input.machine ?? newestMachine(capabilities),
    firmware: input.firmware ?? (defaults.prefersUefi && capabilities.uefi !== null ? 'uefi' : 'bios'),
    disks,
    networks,
    display: input.display ?? defaultDisplay(defaults.display, capabilities),
    usbInput: input.usbInput ?? true,
    serial: input.serial ?? true,
    rng: input.rng ?? true,
    balloon: input.balloon ?? true,
    agentChannel: input.agentChannel ?? true,
    spareRootPorts: input.spareRootPorts ?? 4,
    clock: input.clock ?? defaults.clock,
    autostart: input.autostart ?? false,
  }
  throwFirst(checkAll(spec, facts))
  return spec
}

/**
 * Applies a change. Lists replace whole lists; an element whose `id` is known keeps what the patch leaves out
 * (address, port, size), so a device keeps its place in the guest.
 * @throws EngineError bad_input or image_missing with `field`
 */
export function applyPatch(spec: VmSpec, patch: VmSpecPatch, facts: NormalizeFacts): VmSpec {
  const { disks: diskPatch, networks: networkPatch, ...rest } = patch
  const scalars = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  const guest = patch.guest ?? spec.guest
  throwFirst(tooMany(diskPatch ?? spec.disks, networkPatch ?? spec.networks))
  const { disks, networks } = completeDevices(
    diskPatch ?? spec.disks,
    networkPatch ?? spec.networks,
    spec,
    guest,
    facts,
  )
  // The schema has parsed every scalar of the patch to the type of its field.
  const next = { ...spec, ...scalars, disks, networks } as VmSpec
  throwFirst([...checkKeptDisks(spec, next), ...checkAll(next, facts)])
  return next
}

function checkAll(spec: VmSpec, facts: NormalizeFacts): SpecProblem[] {
  return [...checkStructure(spec), ...checkImages(spec, facts.images), ...checkCapabilities(spec, facts.capabilities)]
}

function tooMany(disks: readonly DriveInput[], networks: readonly CardInput[]): SpecProblem[] {
  const hardDisks = disks.filter((drive) => drive.device === 'disk').length
  const cdroms = disks.length - hardDisks
  return [
    ...checkDeviceCount(hardDisks, networks.length),
    ...(cdroms > SATA_PORTS
      ? [
          {
            code: 'bad_input' as const,
            field: 'disks',
            message: `At most ${SATA_PORTS} CD drives fit; there are ${cdroms}.`,
          },
        ]
      : []),
  ]
}

/** What a disk already holds cannot be swapped or cut off by editing the definition. */
function checkKeptDisks(before: VmSpec, after: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  after.disks.forEach((drive, index) => {
    const old = before.disks.find((d) => d.id === drive.id)
    if (old === undefined) return
    if (old.device !== drive.device) {
      problems.push({
        code: 'bad_input',
        field: `disks.${index}.device`,
        message: `"${drive.id}" is a ${old.device === 'disk' ? 'hard disk' : 'CD drive'}; remove it and add a new device instead.`,
      })
    } else if (drive.device === 'disk' && old.device === 'disk') {
      if (drive.image !== old.image)
        problems.push({
          code: 'bad_input',
          field: `disks.${index}.image`,
          message: 'What a disk was made from cannot change; remove the disk and add a new one.',
        })
      if (drive.sizeGiB < old.sizeGiB)
        problems.push({
          code: 'bad_input',
          field: `disks.${index}.sizeGiB`,
          message: `A disk cannot shrink: it has ${old.sizeGiB} GiB.`,
        })
    }
  })
  return problems
}

/** The guest kind the library guessed for the medium that would boot first. */
function guessGuest(disks: readonly DriveInput[], facts: NormalizeFacts): GuestKind | null {
  const bootable = disks
    .filter((drive) => typeof drive.image === 'string' && drive.bootIndex !== null)
    .map((drive, order) => ({ drive, rank: drive.bootIndex ?? (drive.device === 'cdrom' ? 100 : 200) + order }))
    .sort((a, b) => a.rank - b.rank)
  for (const { drive } of bootable) {
    const guess = facts.images.get(drive.image as string)?.guest
    if (guess !== undefined && guess !== null) return guess
  }
  return null
}

/** Hands out ids, addresses, ports and boot positions that are free, leaving all given and known ones alone. */
function completeDevices(
  diskInput: readonly DriveInput[],
  cardInput: readonly CardInput[],
  known: Pick<VmSpec, 'disks' | 'networks'>,
  guest: GuestKind,
  facts: NormalizeFacts,
): Pick<VmSpec, 'disks' | 'networks'> {
  const oldDrives = new Map(known.disks.map((drive) => [drive.id, drive]))
  const oldCards = new Map(known.networks.map((card) => [card.id, card]))
  const drives = diskInput.map((drive) => {
    const old = drive.id === undefined ? undefined : oldDrives.get(drive.id)
    return old?.device === drive.device ? merge(old, drive) : drive
  })
  const cards = cardInput.map((card) => {
    const old = card.id === undefined ? undefined : oldCards.get(card.id)
    return old === undefined ? card : merge(old, card)
  })

  // An id that another device had until now is not handed to a new one: its disk file may still be there.
  const ids = new Set<string>([...oldDrives.keys(), ...oldCards.keys()])
  const rootPorts = new Set<number>()
  const sataPorts = new Set<number>()
  const boots = new Set<number>()
  const macs = new Set<string>()
  for (const drive of drives) {
    if (drive.id !== undefined) ids.add(drive.id)
    if (drive.device === 'disk' && drive.rootPort !== undefined) rootPorts.add(drive.rootPort)
    if (drive.device === 'cdrom' && drive.port !== undefined) sataPorts.add(drive.port)
    if (typeof drive.bootIndex === 'number') boots.add(drive.bootIndex)
  }
  for (const card of cards) {
    if (card.id !== undefined) ids.add(card.id)
    if (card.rootPort !== undefined) rootPorts.add(card.rootPort)
    if (card.mac !== undefined) macs.add(card.mac)
  }

  const bootOrder = drives
    .map((drive, index) => ({ drive, index }))
    .filter(({ drive }) => drive.bootIndex === undefined)
    // Installers first: CD drives with a medium, then disks, then empty drives.
    .sort((a, b) => bootRank(a.drive) - bootRank(b.drive) || a.index - b.index)
  const bootIndexes = new Map(bootOrder.map(({ index }) => [index, take(boots, 1, 99, 'disks')]))

  const disks = drives.map((drive, index): Drive => {
    const bootIndex = drive.bootIndex === undefined ? (bootIndexes.get(index) ?? null) : drive.bootIndex
    const image = drive.image ?? null
    if (drive.device === 'disk') {
      return {
        id: drive.id ?? takeId(ids, 'disk'),
        device: 'disk',
        bus: drive.bus ?? 'virtio-blk',
        sizeGiB: drive.sizeGiB ?? defaultDiskGiB(image, guest, facts),
        image,
        bootIndex,
        rootPort: drive.rootPort ?? take(rootPorts, 0, MAX_ROOT_PORTS - 1, `disks.${index}.rootPort`),
      }
    }
    return {
      id: drive.id ?? takeId(ids, 'cd'),
      device: 'cdrom',
      bus: drive.bus ?? 'sata',
      image,
      bootIndex,
      port: drive.port ?? take(sataPorts, 0, SATA_PORTS - 1, `disks.${index}.port`),
    }
  })
  const networks = cards.map(
    (card, index): Card => ({
      id: card.id ?? takeId(ids, 'net'),
      model: card.model ?? 'virtio-net',
      mac: card.mac ?? freshMac(macs, facts),
      network: card.network ?? 'user',
      restrict: card.restrict ?? false,
      forwards: card.forwards ?? [],
      rootPort: card.rootPort ?? take(rootPorts, 0, MAX_ROOT_PORTS - 1, `networks.${index}.rootPort`),
    }),
  )
  return { disks, networks }
}

/** Known element with the patch's given fields over it; fields left out (undefined) do not erase. */
function merge<T extends object>(old: T, given: { readonly [K in keyof T]?: T[K] | undefined }): T {
  return { ...old, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) }
}

function bootRank(drive: DriveInput): number {
  if (drive.device === 'disk') return 1
  return typeof drive.image === 'string' ? 0 : 2
}

function take(used: Set<number>, from: number, to: number, field: string): number {
  for (let n = from; n <= to; n += 1) {
    if (used.has(n)) continue
    used.add(n)
    return n
  }
  throw new EngineError('bad_input', 'No place is left for this device; remove another first.', { field })
}

function takeId(used: Set<string>, prefix: string): string {
  for (let n = 0; ; n += 1) {
    const id = `${prefix}${n}`
    if (used.has(id) || isReservedId(id)) continue
    used.add(id)
    return id
  }
}

function freshMac(used: Set<string>, facts: NormalizeFacts): string {
  for (let attempt = 0; attempt < 16; attempt += 1) {
    const mac = facts.nextMac()
    if (used.has(mac)) continue
    used.add(mac)
    return mac
  }
  throw new EngineError('internal', 'No unused network address was found.')
}

/** A disk made from an image starts with the image's own size; a blank one with what suits the guest. */
function defaultDiskGiB(image: string | null, guest: GuestKind, facts: NormalizeFacts): number {
  const source = image === null ? undefined : facts.images.get(image)
  return source === undefined ? GUEST_DEFAULTS[guest].blankDiskGiB : ceilGiB(source.virtualSizeBytes)
}

const VERSIONED_Q35 = /^pc-q35-(\d+)\.(\d+)(?:\.(\d+))?$/

/**
 * Newest versioned q35 type that is not deprecated: what the alias `q35` stands for, when QEMU says.
 * @throws EngineError bad_input when this QEMU has none
 */
export function newestMachine(capabilities: QemuCapabilities): string {
  const versioned = capabilities.machines.filter((machine) => VERSIONED_Q35.test(machine.name))
  const aliased = versioned.find((machine) => machine.alias === 'q35' && !machine.deprecated)
  if (aliased !== undefined) return aliased.name
  const rank = (name: string) =>
    (VERSIONED_Q35.exec(name) ?? []).slice(1).reduce((sum, part) => sum * 1000 + Number(part ?? 0), 0)
  const best = versioned.filter((machine) => !machine.deprecated).sort((a, b) => rank(b.name) - rank(a.name))[0]
  if (best === undefined)
    throw new EngineError('bad_input', `QEMU ${capabilities.version} on this host has no q35 machine type.`, {
      field: 'machine',
    })
  return best.name
}

function defaultDisplay(wanted: 'virtio-vga' | 'std', capabilities: QemuCapabilities): VmSpec['display'] {
  if (wanted === 'virtio-vga' && capabilities.types.includes('virtio-vga')) return 'virtio-vga'
  return capabilities.types.includes('VGA') ? 'std' : 'none'
}
