/**
 * How a guest gets from emulated hardware to virtio, and back, in steps of which each leaves a guest that boots. All is
 * read from the definition alone, so that the plan can be left and taken up again, by anybody, at any step. Pure.
 *
 * A system finds its boot disk only with a driver that is loaded early, and installs such a driver only for a device it
 * has seen. So a small second disk comes first, on the very controller the boot disk will use; the boot disk comes last.
 * On the way back no such disk is needed: the controllers of the mainboard are there all the time.
 */
import type { Drive, NetworkCard, VmSpec, VmSpecPatch } from '../schema/vm-spec.ts'

export type Direction = 'to-virtio' | 'to-emulated'
export type StepId = 'drivers' | 'probe' | 'networks' | 'display' | 'data-disks' | 'boot-disk' | 'cleanup'

export interface MoveStep {
  readonly id: StepId
  /** `next` is the first that is open; the others wait for it. */
  readonly state: 'done' | 'next' | 'later'
  /** The change that makes it; null when done, or when only the operator can (no driver CD in the library). */
  readonly patch: VmSpecPatch | null
  /** A running guest cannot take it, so it waits until the guest is off. */
  readonly needsOff: boolean
  /** What was to be seen in the guest before has to be confirmed: without it the guest may not boot. */
  readonly needsCheck: boolean
  /** Ids of the devices it is about. */
  readonly devices: readonly string[]
  /** What they become: a bus, a model, a display. */
  readonly target: string | null
  /** Devices whose properties set by hand are taken out: another driver does not know them. */
  readonly dropsProperties: readonly string[]
}

export interface MovePlan {
  readonly direction: Direction
  /** In the order to be taken; those done stay in the list. */
  readonly steps: readonly MoveStep[]
  /** Nothing to move. */
  readonly complete: boolean
  /** microvm has virtio devices only, so that there is no way back. */
  readonly impossible: 'microvm' | null
}

export interface MoveFacts {
  readonly direction: Direction
  /** Library image of the CD with the virtio drivers for Windows; null when the library has none. */
  readonly virtioDriverImage: Drive['image']
}

/** The small disk that makes the guest load its driver; recognised by this id. */
export const PROBE_ID = 'virtio-probe'
/** The drive for the driver CD, when the VM had no empty one. */
export const DRIVER_CD_ID = 'virtio-cd'
const PROBE_GIB = 1

type Disk = Extract<Drive, { device: 'disk' }>
type Bus = Disk['bus']
type Family = 'q35' | 'pc' | 'microvm'
type DriveChange = NonNullable<VmSpecPatch['disks']>[number]
type Draft = Pick<MoveStep, 'id'> & {
  readonly isOpen: boolean
  readonly patch: () => VmSpecPatch | null
  readonly needsOff: boolean
  readonly needsCheck?: boolean
  readonly devices: readonly string[]
  readonly target: string | null
}

/** How many drives the mainboard's controllers take. */
const SATA_PORTS = 6
const IDE_PORTS = 4
const SOCKETS: Readonly<Record<Family, number>> = { q35: 32, pc: 15, microvm: 24 }
/** A virtio-blk or NVMe disk shows at most so much of a serial number. */
const SERIAL_MAX = 20

const familyOf = ({ machine }: VmSpec): Family =>
  machine === 'microvm' ? 'microvm' : machine.startsWith('pc-i440fx-') ? 'pc' : 'q35'

const isVirtioBus = (bus: Drive['bus']): boolean => bus === 'virtio-blk' || bus === 'virtio-scsi'
const usesSocket = (bus: Drive['bus']): boolean => bus === 'virtio-blk' || bus === 'nvme'
const isVirtioDisplay = (display: VmSpec['display']): boolean => display === 'virtio-vga' || display === 'virtio-gpu'
const isProbe = (drive: Drive): drive is Disk => drive.device === 'disk' && drive.id === PROBE_ID

/** The guest's own disks, without the one that this plan adds. */
const ownDisks = (spec: VmSpec): Disk[] =>
  spec.disks.filter((drive): drive is Disk => drive.device === 'disk' && !isProbe(drive))

/** The disk the firmware starts first; the first of all when none has a boot position. */
function bootDiskOf(spec: VmSpec): Disk | null {
  const disks = ownDisks(spec)
  const ranked = disks.filter((disk) => disk.bootIndex !== null)
  return ranked.sort((a, b) => (a.bootIndex ?? 0) - (b.bootIndex ?? 0))[0] ?? disks[0] ?? null
}

function freeSockets(spec: VmSpec): number {
  const all = [...spec.disks, ...spec.networks, ...spec.inputs, ...spec.shares, ...spec.hostDevices]
  const used = all.filter((device) => 'rootPort' in device && device.rootPort !== null)
  return SOCKETS[familyOf(spec)] - used.length
}

/** All drives as they are, some of them changed. */
const drivesWith = (spec: VmSpec, change: (drive: Drive) => object | null): DriveChange[] =>
  spec.disks.flatMap((drive): DriveChange[] => {
    const changed = change(drive)
    return changed === null ? [] : [{ id: drive.id, device: drive.device, ...changed }]
  })

/** Without the properties of devices that get another driver; left alone when these have none. */
function withoutProperties(spec: VmSpec, ids: readonly string[]): Pick<VmSpecPatch, 'properties'> {
  const kept = Object.entries(spec.properties).filter(([id]) => !ids.includes(id))
  return kept.length === Object.keys(spec.properties).length ? {} : { properties: Object.fromEntries(kept) }
}

/** Drives on other buses, by id; with their properties dropped. */
function movedDrives(spec: VmSpec, buses: ReadonlyMap<string, Drive['bus']>): VmSpecPatch {
  return {
    disks: drivesWith(spec, ({ id }) => (buses.has(id) ? { bus: buses.get(id) } : {})),
    ...withoutProperties(spec, [...buses.keys()]),
  }
}

/** Steps that a draft list makes: all before the first open one are done or skipped, all after it wait. */
function ordered(spec: VmSpec, drafts: readonly Draft[]): MoveStep[] {
  let hasNext = false
  return drafts.map(({ isOpen, patch, needsCheck = false, ...draft }): MoveStep => {
    const common = { ...draft, needsCheck, dropsProperties: [] }
    if (!isOpen) return { ...common, state: 'done', patch: null }
    const made = patch()
    const state = hasNext ? 'later' : 'next'
    // What only the operator can do holds nothing up: the check before the boot disk moves does.
    if (made !== null) hasNext = true
    const dropsProperties = made?.properties ? draft.devices.filter((id) => id in spec.properties) : []
    return { ...common, state, patch: made, dropsProperties }
  })
}

/** @returns the steps from this definition on; `complete` when every disk, card and display is there already */
export function planMove(spec: VmSpec, { direction, virtioDriverImage }: MoveFacts): MovePlan {
  const isMicrovm = familyOf(spec) === 'microvm'
  if (direction === 'to-emulated' && isMicrovm) return { direction, steps: [], complete: false, impossible: 'microvm' }
  const steps = ordered(spec, direction === 'to-virtio' ? toVirtio(spec, virtioDriverImage) : toEmulated(spec))
  return { direction, steps, complete: steps.every((step) => step.state === 'done'), impossible: null }
}

function toVirtio(spec: VmSpec, driverImage: Drive['image']): Draft[] {
  const boot = bootDiskOf(spec)
  const bootMoves = boot !== null && !isVirtioBus(boot.bus)
  const probe = spec.disks.find(isProbe)
  // A disk the guest uses on virtio already shows as well that it has the driver.
  const witness = probe ?? ownDisks(spec).find((disk) => disk !== boot && isVirtioBus(disk.bus))
  const data = ownDisks(spec).filter((disk) => disk !== boot)
  const dataMoves = data.filter((disk) => !isVirtioBus(disk.bus))
  const cards = spec.networks.filter((card) => card.model !== 'virtio-net')
  const displayMoves = spec.display !== 'none' && !isVirtioDisplay(spec.display)
  const needsProbe = bootMoves && witness === undefined
  const bus = bootMoves ? bootTarget(spec, boot, witness, cards) : 'virtio-blk'
  const isOpen = bootMoves || dataMoves.length > 0 || cards.length > 0 || displayMoves
  return [
    ...(spec.guest === 'windows' ? [driversDraft(spec, driverImage, isOpen)] : []),
    ...(boot === null
      ? []
      : [
          {
            id: 'probe' as const,
            isOpen: needsProbe,
            patch: () => ({ disks: [...drivesWith(spec, () => ({})), probeDisk(bus)] }),
            needsOff: false,
            devices: [witness?.id ?? PROBE_ID],
            target: witness?.bus ?? bus,
          },
        ]),
    ...networksDraft(spec, cards, 'virtio-net'),
    ...displayDraft(spec, displayMoves, {
      display: familyOf(spec) === 'microvm' ? 'virtio-gpu' : 'virtio-vga',
    }),
    ...(data.length === 0
      ? []
      : [
          {
            id: 'data-disks' as const,
            isOpen: dataMoves.length > 0,
            patch: () => movedDrives(spec, dataTargets(spec, dataMoves, bootMoves && !usesSocket(boot.bus))),
            needsOff: true,
            devices: (dataMoves.length > 0 ? dataMoves : data).map(({ id }) => id),
            target: 'virtio-blk',
          },
        ]),
    ...(boot === null
      ? []
      : [
          {
            id: 'boot-disk' as const,
            isOpen: bootMoves,
            patch: () => movedDrives(spec, new Map([[boot.id, bus]])),
            needsOff: true,
            needsCheck: true,
            devices: [boot.id],
            target: bootMoves ? bus : boot.bus,
          },
        ]),
    ...cleanupDraft(spec, driverImage),
  ]
}

/** virtio-blk, unless the probe went to the SCSI controller or there is no socket for it. */
function bootTarget(spec: VmSpec, boot: Disk, witness: Disk | undefined, cards: readonly NetworkCard[]): Bus {
  if (witness !== undefined) return witness.bus
  const needed = 1 + (usesSocket(boot.bus) ? 0 : 1) + cards.filter((card) => card.rootPort === null).length
  return freeSockets(spec) >= needed ? 'virtio-blk' : 'virtio-scsi'
}

/** virtio-blk as long as there are sockets, one kept for the boot disk; virtio-scsi needs none. */
function dataTargets(spec: VmSpec, disks: readonly Disk[], keepsOne: boolean): ReadonlyMap<string, Bus> {
  let free = freeSockets(spec) - (keepsOne ? 1 : 0)
  return new Map(
    disks.map((disk): [string, Bus] => {
      if (usesSocket(disk.bus)) return [disk.id, 'virtio-blk']
      free -= 1
      return [disk.id, free >= 0 ? 'virtio-blk' : 'virtio-scsi']
    }),
  )
}

const probeDisk = (bus: Bus): DriveChange => ({
  device: 'disk',
  id: PROBE_ID,
  bus,
  sizeGiB: PROBE_GIB,
  image: null,
  bootIndex: null,
})

/** Puts the CD into an empty drive, which a running guest takes at once, or into a drive of its own. */
function driversDraft(spec: VmSpec, image: Drive['image'], isOpen: boolean): Draft {
  const cds = spec.disks.filter((drive) => drive.device === 'cdrom')
  const holder = cds.find((drive) => image !== null && drive.image === image)
  const empty = cds.find((drive) => drive.image === null && drive.seed === null)
  const common = { id: 'drivers' as const, target: null, isOpen: isOpen && holder === undefined }
  if (image === null) return { ...common, patch: () => null, needsOff: false, devices: [] }
  if (empty !== undefined || holder !== undefined)
    return {
      ...common,
      patch: () => ({ disks: drivesWith(spec, (drive) => (drive === empty ? { image } : {})) }),
      needsOff: false,
      devices: [holder?.id ?? empty?.id ?? DRIVER_CD_ID],
    }
  const drive: DriveChange = {
    device: 'cdrom',
    id: DRIVER_CD_ID,
    bus: boardBus(spec) ?? 'usb',
    image,
    bootIndex: null,
  }
  return {
    ...common,
    patch: () => ({ disks: [...drivesWith(spec, () => ({})), drive] }),
    needsOff: true,
    devices: [DRIVER_CD_ID],
  }
}

/** What the plan brought and nobody needs any more. */
function cleanupDraft(spec: VmSpec, driverImage: Drive['image']): Draft[] {
  const added = spec.disks.filter((drive) => isProbe(drive) || (drive.device === 'cdrom' && drive.id === DRIVER_CD_ID))
  if (added.length === 0) return []
  const hasMedium = (drive: Drive) =>
    drive.device === 'cdrom' && driverImage !== null && drive.image === driverImage && !added.includes(drive)
  const ids = added.map(({ id }) => id)
  return [
    {
      id: 'cleanup',
      isOpen: true,
      patch: () => ({
        disks: drivesWith(spec, (drive) => (added.includes(drive) ? null : hasMedium(drive) ? { image: null } : {})),
        ...withoutProperties(spec, ids),
      }),
      needsOff: false,
      devices: ids,
      target: null,
    },
  ]
}

function networksDraft(spec: VmSpec, cards: readonly NetworkCard[], model: NetworkCard['model']): Draft[] {
  if (spec.networks.length === 0) return []
  const ids = cards.map(({ id }) => id)
  return [
    {
      id: 'networks',
      isOpen: cards.length > 0,
      // The address and the place stay: what is left out is kept.
      patch: () => ({
        networks: spec.networks.map((card) => (cards.includes(card) ? { id: card.id, model } : { id: card.id })),
        ...withoutProperties(spec, ids),
      }),
      needsOff: true,
      devices: cards.length > 0 ? ids : spec.networks.map(({ id }) => id),
      target: model,
    },
  ]
}

function displayDraft(spec: VmSpec, isOpen: boolean, change: Pick<VmSpecPatch, 'display'>): Draft[] {
  if (spec.display === 'none') return []
  return [
    {
      id: 'display',
      isOpen,
      patch: () => ({ ...change, ...withoutProperties(spec, ['video0']) }),
      needsOff: true,
      devices: ['video0'],
      target: isOpen ? (change.display ?? null) : spec.display,
    },
  ]
}

function toEmulated(spec: VmSpec): Draft[] {
  const boot = bootDiskOf(spec)
  const bootMoves = boot !== null && isVirtioBus(boot.bus)
  const onScsi = spec.disks.filter((drive) => drive.device === 'cdrom' && drive.bus === 'virtio-scsi')
  const data = ownDisks(spec).filter((disk) => disk !== boot)
  const moves = [...data.filter((disk) => isVirtioBus(disk.bus)), ...onScsi]
  const cards = spec.networks.filter((card) => card.model === 'virtio-net')
  const memory = spec.displayMemoryMiB
  // The standard card has one output and memory of a power of two.
  const fits = memory === null || (memory <= 256 && (memory & (memory - 1)) === 0)
  const change = { display: 'std' as const, displayHeads: 1, ...(fits ? {} : { displayMemoryMiB: null }) }
  const bootBus = boot === null ? 'sata' : (boardTargets(spec, [boot]).get(boot.id) ?? 'sata')
  return [
    ...(boot === null
      ? []
      : [
          {
            id: 'boot-disk' as const,
            isOpen: bootMoves,
            patch: () => movedDrives(spec, new Map([[boot.id, bootBus]])),
            needsOff: true,
            needsCheck: true,
            devices: [boot.id],
            target: bootMoves ? bootBus : boot.bus,
          },
        ]),
    ...(data.length + onScsi.length === 0
      ? []
      : [
          {
            id: 'data-disks' as const,
            isOpen: moves.length > 0,
            patch: () => movedDrives(spec, boardTargets(spec, moves)),
            needsOff: true,
            devices: (moves.length > 0 ? moves : data).map(({ id }) => id),
            target: familyOf(spec) === 'pc' ? 'ide' : 'sata',
          },
        ]),
    ...networksDraft(spec, cards, familyOf(spec) === 'pc' ? 'e1000' : 'e1000e'),
    ...displayDraft(spec, isVirtioDisplay(spec.display), change),
    ...cleanupDraft(spec, null),
  ]
}

type BoardBus = 'sata' | 'ide'
const boardBuses = (spec: VmSpec): readonly [BoardBus, number][] =>
  familyOf(spec) === 'pc'
    ? [
        ['ide', IDE_PORTS],
        ['sata', SATA_PORTS],
      ]
    : [['sata', SATA_PORTS]]

/** A bus of the mainboard with a free port; null when all are taken. */
function boardBus(spec: VmSpec, taken: readonly Drive['bus'][] = []): BoardBus | null {
  const all = [...spec.disks.map((drive) => drive.bus), ...taken]
  for (const [bus, ports] of boardBuses(spec)) if (all.filter((one) => one === bus).length < ports) return bus
  return null
}

/** The mainboard's ports first; NVMe for what finds none there, or must stay read-only, which they cannot be. */
function boardTargets(spec: VmSpec, drives: readonly Drive[]): ReadonlyMap<string, Drive['bus']> {
  const taken: Drive['bus'][] = []
  return new Map(
    drives.map((drive): [string, Drive['bus']] => {
      const isDisk = drive.device === 'disk'
      const board = isDisk && drive.readOnly ? null : boardBus(spec, taken)
      if (board !== null) {
        taken.push(board)
        return [drive.id, board]
      }
      const hasSerial = isDisk && (drive.serial !== null || drive.id.length <= SERIAL_MAX)
      return [drive.id, hasSerial ? 'nvme' : 'usb']
    }),
  )
}
