/** The devices of a definition as the page lists them, each with where it stands between definition and guest. Pure. */
import { GROUPS, type Group } from '#lib/devices/catalogue.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { PendingChange, Vm } from '#lib/schema/vm-state.ts'
import type { AnyDevice, DeviceList } from '#lib/vm/live-types.ts'

/** Parts of the machine that are there once, by what the form for them is called. */
export const MACHINE_PARTS = {
  machine: {
    group: 'platform',
    fields: ['machine', 'firmware', 'secureBoot', 'bootMenu', 'spareRootPorts', 'accelerator'],
  },
  cpu: {
    group: 'platform',
    fields: ['cpus', 'maxCpus', 'cpuModel', 'cpuFlags', 'topology', 'pinning', 'numa', 'hyperv'],
  },
  memory: {
    group: 'platform',
    fields: ['memoryMiB', 'memoryMaxMiB', 'virtioMem', 'hugePages', 'balloon', 'balloonTargetMiB', 'freePageReporting'],
  },
  share: { group: 'platform', fields: ['cpuWeight', 'cpuLimit', 'ioWeight', 'memoryCap'] },
  security: { group: 'platform', fields: ['tpm', 'iommu', 'pvpanic', 'generationId'] },
  clock: { group: 'platform', fields: ['clock', 'clockOffsetSeconds'] },
  smbios: { group: 'platform', fields: ['smbios'] },
  kernel: { group: 'platform', fields: ['directKernel'] },
  display: { group: 'screen', fields: ['display', 'displayHeads', 'displayResolution', 'displayMemoryMiB'] },
  input: { group: 'screen', fields: ['usbInput', 'ps2', 'usbController', 'usbPorts'] },
  sound: { group: 'screen', fields: ['sound', 'clipboard'] },
  channels: { group: 'bus', fields: ['serial', 'serialDevice', 'vsock'] },
  helpers: { group: 'bus', fields: ['agentChannel', 'rng', 'watchdog'] },
  expert: { group: 'bus', fields: ['rawArgs'] },
} as const satisfies Record<string, { group: Group; fields: readonly (keyof VmSpec)[] }>
export type PartId = keyof typeof MACHINE_PARTS
const PART_IDS = Object.keys(MACHINE_PARTS) as PartId[]

const LISTS: readonly (readonly [DeviceList, Group])[] = [
  ['dimms', 'platform'],
  ['disks', 'storage'],
  ['networks', 'network'],
  ['inputs', 'screen'],
  ['channels', 'bus'],
  ['shares', 'bus'],
  ['hostDevices', 'bus'],
]

export type EntryState =
  | 'off'
  | 'running'
  | 'added'
  | 'ready'
  | 'changed'
  | 'changeReady'
  | 'medium'
  | 'leaving'
  | 'removed'
  | 'removeReady'

interface Standing {
  readonly state: EntryState
  /** Why, in the server's words; null where nothing waits. */
  readonly reason: string | null
}

export interface DeviceEntry extends Standing {
  readonly kind: 'device'
  readonly key: string
  readonly id: string
  readonly list: DeviceList
  readonly device: AnyDevice
  /** Whether the definition still has it; otherwise only the guest does. */
  readonly isStored: boolean
}

interface PartEntry extends Standing {
  readonly kind: 'part'
  readonly key: string
  readonly part: PartId
}

export type Entry = DeviceEntry | PartEntry

export interface EntryGroup {
  readonly group: Group
  readonly entries: readonly Entry[]
}

/** Every part and device in the order of the catalogue; what the guest has not let go of stands after the rest. */
export function entriesOf(vm: Pick<Vm, 'spec' | 'pending' | 'state'>): EntryGroup[] {
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const calm: Standing = { state: isOff ? 'off' : 'running', reason: null }
  return GROUPS.map((group) => ({
    group,
    entries: [
      ...PART_IDS.filter((part) => MACHINE_PARTS[part].group === group).map((part): PartEntry => {
        const fields: readonly string[] = MACHINE_PARTS[part].fields
        const waiting = vm.pending.find(({ path }) => fields.includes(path.split('/')[1] ?? ''))
        return { kind: 'part', key: `part-${part}`, part, ...(waiting === undefined ? calm : changeState(waiting)) }
      }),
      ...LISTS.filter(([, of]) => of === group).flatMap(([list]) => listEntries(vm, list, calm)),
    ],
  }))
}

function listEntries(vm: Pick<Vm, 'spec' | 'pending'>, list: DeviceList, calm: Standing): DeviceEntry[] {
  const stored = vm.spec[list].map((device, index): DeviceEntry => {
    const waiting =
      vm.pending.find(({ path }) => path === `/${list}/${index}` || path.startsWith(`/${list}/${index}/`)) ??
      vm.pending.find(({ path }) => path === `/properties/${device.id}`)
    return {
      kind: 'device',
      key: `${list}-${device.id}`,
      id: device.id,
      list,
      device,
      isStored: true,
      ...(waiting === undefined ? calm : waiting.live === null ? addState(waiting) : changeState(waiting)),
    }
  })
  const leaving = vm.pending.flatMap((change): DeviceEntry[] => {
    // A removed device of the definition that runs; parsed when it was stored.
    const device = change.live as AnyDevice | null
    if (change.path !== `/${list}/-` || device === null) return []
    return [
      {
        kind: 'device',
        key: `${list}-${device.id}-leaving`,
        id: device.id,
        list,
        device,
        isStored: false,
        state: change.waiting === 'guest' ? 'leaving' : change.waiting === 'apply' ? 'removeReady' : 'removed',
        reason: change.reason,
      },
    ]
  })
  return [...stored, ...leaving]
}

const addState = ({ waiting, reason }: PendingChange): Standing => ({
  state: waiting === 'apply' ? 'ready' : 'added',
  reason,
})

const changeState = ({ waiting, reason }: PendingChange): Standing => ({
  state: waiting === 'apply' ? 'changeReady' : waiting === 'guest' ? 'medium' : 'changed',
  reason,
})

/** What an open editor is about, as the address says it. */
export type Target =
  | { readonly kind: 'device'; readonly id: string }
  | { readonly kind: 'part'; readonly part: PartId }
  | { readonly kind: 'add'; readonly what: AddKind }

export const ADD_KINDS = ['disk', 'cdrom', 'network', 'dimm', 'input', 'channel', 'share', 'host'] as const
export type AddKind = (typeof ADD_KINDS)[number]

/** `?device=disk0`, `?part=cpu` or `?add=disk`; null for anything else. */
export function targetOf(query: { get(name: string): string | null }): Target | null {
  const device = query.get('device')
  if (device !== null) return { kind: 'device', id: device }
  const wanted = query.get('part')
  const part = PART_IDS.find((id) => id === wanted)
  if (part !== undefined) return { kind: 'part', part }
  const add = query.get('add')
  const what = ADD_KINDS.find((kind) => kind === add)
  return what === undefined ? null : { kind: 'add', what }
}

/** Where a JSON pointer into the definition is edited: `/disks/0` → its device, `/rng` → the part it belongs to. */
export function targetOfField(spec: VmSpec, pointer: string): Target | null {
  const [, field = '', index = ''] = pointer.split('/')
  const list = LISTS.find(([name]) => name === field)?.[0]
  if (list !== undefined) {
    const device = /^\d+$/.test(index) ? spec[list][Number(index)] : undefined
    return device === undefined ? null : { kind: 'device', id: device.id }
  }
  if (field === 'properties' && index !== '') return { kind: 'device', id: index }
  const part = PART_IDS.find((id) => (MACHINE_PARTS[id].fields as readonly string[]).includes(field))
  return part === undefined ? null : { kind: 'part', part }
}

/** The list a device of the definition is in, and its place there. */
export function findDevice(spec: VmSpec, id: string): { readonly list: DeviceList; readonly index: number } | null {
  for (const [list] of LISTS) {
    const index = spec[list].findIndex((device) => device.id === id)
    if (index >= 0) return { list, index }
  }
  return null
}
