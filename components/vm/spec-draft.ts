/**
 * A definition while it is being edited. Pure. What is `undefined` is left to the server's default (create) or as it is
 * stored (change); an emptied number is `null` and keeps the draft from being sent.
 */
import type { CallInput } from '#lib/client/api-client.ts'
import type { Image } from '#lib/schema/image.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { same } from '#lib/vm/same.ts'

/** Numbers without which nothing can be sent. Others may be null: they are left to QEMU or switched off by it. */
const REQUIRED_NUMBERS = [
  'cpus',
  'maxCpus',
  'memoryMiB',
  'spareRootPorts',
  'usbPorts',
  'displayHeads',
  'clockOffsetSeconds',
] as const satisfies readonly (keyof VmSpec)[]
type NumberKey = (typeof REQUIRED_NUMBERS)[number]

/** Lists whose rows are edited as plain fields; drives and cards have rows of their own kind. */
export const ROW_LISTS = ['inputs', 'dimms', 'channels', 'shares', 'hostDevices'] as const
export type RowList = (typeof ROW_LISTS)[number]
export const isRowList = (key: string): key is RowList => ROW_LISTS.some((list) => list === key)

type ScalarKey = Exclude<keyof VmSpec, 'disks' | 'networks' | 'name' | RowList>
/** Fields of a device by name, as the schema takes them. */
export type Fields = Readonly<Record<string, unknown>>
export type ScalarDraft = { readonly [K in ScalarKey]?: VmSpec[K] | (K extends NumberKey ? null : never) }

export interface DriveDraft {
  /** Identity of the row on the page. */
  readonly key: string
  readonly device: 'disk' | 'cdrom'
  /** Set when the device exists already. */
  readonly id?: string
  readonly image: string | null
  readonly sizeGiB?: number | null
  /**
   * `boot`: stands for what was chosen to boot. `auto`: suggested beside it. Both are replaced by the next choice.
   * `drivers`: the CD with the virtio drivers of a Windows guest.
   */
  readonly origin: 'boot' | 'auto' | 'own' | 'drivers'
  /** Whatever else was set: bus, cache, limits. */
  readonly more?: Fields
}

export interface ForwardDraft {
  readonly key: string
  readonly protocol: 'tcp' | 'udp'
  readonly hostPort: number | null
  readonly guestPort: number | null
}

export interface CardDraft {
  readonly key: string
  readonly id?: string
  readonly mac: string
  readonly restrict: boolean
  readonly forwards: readonly ForwardDraft[]
  /** Whatever else was set: model, network, limits. */
  readonly more?: Fields
}

export interface DeviceRow {
  readonly key: string
  /** What was set; of a device that exists already, its id and what was changed. */
  readonly fields: Fields
}

export interface SpecDraft {
  readonly name: string
  readonly scalars: ScalarDraft
  readonly drives: readonly DriveDraft[]
  readonly cards: readonly CardDraft[]
  /** The CD with the virtio drivers was taken away by hand. */
  readonly noDrivers?: boolean
  readonly lists?: { readonly [L in RowList]?: readonly DeviceRow[] }
}

/** The rows of a list, none when it was never touched. */
export const rowsOf = (draft: SpecDraft, list: RowList): readonly DeviceRow[] => draft.lists?.[list] ?? []

export type SpecInput = NonNullable<CallInput<'vmCreate'>['body']>
export type SpecPatch = NonNullable<CallInput<'vmUpdate'>['body']>

/** Random part of an address; the prefix is the one QEMU and KVM tools use. Kept in the draft, so it stays put. */
export function newCard(key: string, random: () => number = Math.random): CardDraft {
  const octet = () =>
    Math.floor(random() * 256)
      .toString(16)
      .padStart(2, '0')
  return { key, mac: `52:54:00:${octet()}:${octet()}:${octet()}`, restrict: false, forwards: [] }
}

export interface DraftProblem {
  /** Dotted path, as the API names fields. */
  readonly field: string
  readonly kind: 'number' | 'port' | 'hostPort'
}

const isPort = (port: number | null, from: number) =>
  port !== null && Number.isInteger(port) && port >= from && port <= 65_535

/** What can be said about a draft without asking the server: numbers that are missing or no numbers. */
export function draftProblems(draft: SpecDraft): DraftProblem[] {
  const problems: DraftProblem[] = []
  for (const field of REQUIRED_NUMBERS) {
    const value = draft.scalars[field]
    if (value === null || (value !== undefined && !Number.isInteger(value))) problems.push({ field, kind: 'number' })
  }
  draft.drives.forEach((drive, n) => {
    const size = drive.sizeGiB
    if (drive.device === 'disk' && (size === null || (size !== undefined && !Number.isInteger(size))))
      problems.push({ field: `disks.${n}.sizeGiB`, kind: 'number' })
  })
  draft.cards.forEach((card, n) => {
    card.forwards.forEach((forward, m) => {
      const at = `networks.${n}.forwards.${m}`
      if (!isPort(forward.hostPort, 1024)) problems.push({ field: `${at}.hostPort`, kind: 'hostPort' })
      if (!isPort(forward.guestPort, 1)) problems.push({ field: `${at}.guestPort`, kind: 'port' })
    })
  })
  return problems
}

const isRequired = (key: string): boolean => REQUIRED_NUMBERS.some((field) => field === key)

const definedScalars = (scalars: ScalarDraft) =>
  Object.fromEntries(
    Object.entries(scalars).filter(([key, value]) => value !== undefined && !(value === null && isRequired(key))),
  )

const driveInput = (drive: DriveDraft) => ({
  device: drive.device,
  image: drive.image,
  ...(drive.id === undefined ? {} : { id: drive.id }),
  ...(drive.device === 'disk' && typeof drive.sizeGiB === 'number' ? { sizeGiB: drive.sizeGiB } : {}),
  ...drive.more,
})

const cardInput = (card: CardDraft) => ({
  ...(card.id === undefined ? {} : { id: card.id }),
  mac: card.mac,
  restrict: card.restrict,
  forwards: card.forwards.flatMap(({ protocol, hostPort, guestPort }) =>
    hostPort === null || guestPort === null ? [] : [{ protocol, hostPort, guestPort }],
  ),
  ...card.more,
})

/** Lists with rows; an empty one is what create assumes anyway. */
const listInputs = (draft: SpecDraft) =>
  Object.fromEntries(
    ROW_LISTS.map((list) => [list, rowsOf(draft, list).map((row) => row.fields)]).filter(
      ([, rows]) => rows !== undefined && rows.length > 0,
    ),
  )

/** The body of create and preview. Device order is the draft's, so `disks.N` in an answer is row N. */
export function toInput(draft: SpecDraft, name = draft.name): SpecInput {
  // Device rows carry ids and addresses as plain strings, which is what the schema takes in.
  return {
    name,
    ...definedScalars(draft.scalars),
    disks: draft.drives.map(driveInput),
    networks: draft.cards.map(cardInput),
    ...listInputs(draft),
  } as SpecInput
}

/** A draft that shows a stored definition. */
export function fromSpec(spec: VmSpec): SpecDraft {
  const { name, disks, networks, inputs, dimms, channels, shares, hostDevices, ...scalars } = spec
  const rows = (devices: readonly { readonly id: string }[]): DeviceRow[] =>
    devices.map((device) => ({ key: device.id, fields: { ...device } }))
  return {
    name,
    scalars,
    lists: {
      inputs: rows(inputs),
      dimms: rows(dimms),
      channels: rows(channels),
      shares: rows(shares),
      hostDevices: rows(hostDevices),
    },
    drives: disks.map((drive) => ({
      key: drive.id,
      id: drive.id,
      device: drive.device,
      image: drive.image,
      origin: 'own',
      ...(drive.device === 'disk' ? { sizeGiB: drive.sizeGiB } : {}),
    })),
    cards: networks.map((card) => ({
      key: card.id,
      id: card.id,
      mac: card.mac,
      restrict: card.restrict,
      forwards: card.forwards.map((forward, n) => ({ key: `${card.id}-${n}`, ...forward })),
    })),
  }
}

/** What the draft changes of `spec`; empty when nothing. Lists are sent whole, elements keep their id. */
export function toPatch(draft: SpecDraft, spec: VmSpec): SpecPatch {
  const before = fromSpec(spec)
  const patch: Record<string, unknown> = {}
  if (draft.name !== before.name) patch.name = draft.name
  for (const [key, value] of Object.entries(definedScalars(draft.scalars)))
    if (!same(value, before.scalars[key as keyof ScalarDraft])) patch[key] = value
  const drives = draft.drives.map(driveInput)
  if (!same(drives, before.drives.map(driveInput))) patch.disks = drives
  const cards = draft.cards.map(cardInput)
  if (!same(cards, before.cards.map(cardInput))) patch.networks = cards
  for (const list of ROW_LISTS) {
    const rows = rowsOf(draft, list).map((row) => row.fields)
    if (!same(rows, spec[list])) patch[list] = rows
  }
  // Every value came from a field of the spec or a row above.
  return patch as SpecPatch
}

/** A disk suits an installer, not a tool that only looks at the machine. */
const TOOLS = /memtest|ipxe|grub/i

/**
 * The rows after choosing what to boot: the medium first, then a blank disk when it installs something, then whatever
 * was added by hand.
 * @param boot null: nothing
 */
export function drivesFor(
  boot: Pick<Image, 'id' | 'name' | 'kind' | 'source'> | null,
  drives: readonly DriveDraft[],
): DriveDraft[] {
  const own = drives.filter((drive) => drive.origin === 'own' || drive.origin === 'drivers')
  if (boot === null) return own
  const medium: DriveDraft = {
    key: 'boot',
    device: boot.kind === 'iso' ? 'cdrom' : 'disk',
    image: boot.id,
    origin: 'boot',
  }
  const isTool = boot.source === 'starter' && TOOLS.test(boot.name)
  const wantsDisk = boot.kind === 'iso' && !isTool && !own.some((drive) => drive.device === 'disk')
  return [
    medium,
    ...(wantsDisk ? [{ key: 'auto', device: 'disk' as const, image: null, origin: 'auto' as const }] : []),
    ...own,
  ]
}

/** Fedora's virtio-win ISO, by its file name or volume label: `virtio-win-0.1.271.iso`. */
const DRIVERS = /virtio[-_ .]?win/i

type MaybeDrivers = Pick<Image, 'id' | 'name' | 'label' | 'kind' | 'present'>

/** The CD of the library with the virtio drivers for Windows, the newest by name; undefined when there is none. */
export const driverImage = <T extends MaybeDrivers>(images: readonly T[]): T | undefined =>
  images
    .filter(({ kind, present, name, label }) => kind === 'iso' && present && DRIVERS.test(`${name} ${label ?? ''}`))
    .sort((a, b) => b.name.localeCompare(a.name, 'en', { numeric: true }))[0]

const isDriverCd = (drive: DriveDraft) => drive.origin === 'drivers'

/**
 * The draft with the drivers' CD in a drive of its own, or without it.
 * @param image null: not wanted. Not added where another drive has it already.
 */
export function withDriverCd(draft: SpecDraft, image: string | null): SpecDraft {
  const others = draft.drives.filter((drive) => !isDriverCd(drive))
  const known = draft.drives.find(isDriverCd)
  const wanted = image !== null && !others.some((drive) => drive.image === image) ? image : null
  if ((known?.image ?? null) === wanted) return draft
  const cd: DriveDraft[] =
    wanted === null
      ? []
      : // An installer must stay the first to boot, and what it installs the second.
        [{ key: 'drivers', device: 'cdrom', image: wanted, origin: 'drivers', more: { bootIndex: null } }]
  return { ...draft, drives: [...others, ...cd] }
}

/** Notes that the drivers' CD was taken away, so that it is not put back. */
export const afterChange = (before: SpecDraft, after: SpecDraft): SpecDraft =>
  before.drives.some(isDriverCd) && !after.drives.some(isDriverCd) ? { ...after, noDrivers: true } : after

/** A compressed file has two. */
const EXTENSIONS = /(\.(iso|img|qcow2|raw|bin|vmdk|vhdx?|vdi|ova|gz|xz|zst|bz2))+$/i

/** A name for the VM from what it boots, free of what `taken` (lower case) holds: `debian-12`, `debian-12-2`. */
export function suggestName(imageName: string | null, taken: ReadonlySet<string>): string {
  const base =
    (imageName ?? '')
      .replace(EXTENSIONS, '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, '-')
      .replace(
        /-(amd64|x86|64|live|server|desktop|netinst|netboot|installer|genericcloud|cloud|generic|dvd|iso|\d{6,})(?=-|$)/gu,
        '',
      )
      .replace(/^-+|-+$/g, '')
      .slice(0, 32)
      .replace(/-+$/, '') || 'vm'
  if (!taken.has(base)) return base
  for (let n = 2; ; n += 1) if (!taken.has(`${base}-${n}`)) return `${base}-${n}`
}
