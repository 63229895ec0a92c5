/**
 * Stored definition against what the running guest was started with: what waits for the next power cycle.
 * Pure. One rule per field of the spec; a field added to the schema does not compile until it has a rule here.
 */
import type { Drive, NetworkCard, VmSpec } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'

type Rule<K extends keyof VmSpec> = (live: VmSpec[K], next: VmSpec[K], path: string) => PendingChange[]
type Json = PendingChange['live']

/** Never pending: only the dashboard uses it. */
const immediate = (): PendingChange[] => []

/** The whole value waits, for one reason. */
const cold =
  (reason: string) =>
  (live: Json, next: Json, path: string): PendingChange[] =>
    same(live, next) ? [] : [{ path, live, next, reason }]

const RULES: { readonly [K in keyof VmSpec]: Rule<K> } = {
  name: immediate,
  description: immediate,
  tags: immediate,
  autostart: immediate,
  // Chooses defaults when a VM is made; the guest itself never sees it.
  guest: immediate,
  cpus: cold('The number of virtual CPUs is fixed while the guest runs.'),
  cpuModel: cold('A running system has already looked at its CPU and relies on it.'),
  memoryMiB: cold('The size of the memory is fixed while the guest runs.'),
  accelerator: cold('A running guest cannot move between KVM and TCG.'),
  machine: cold('The mainboard cannot be exchanged under a running guest.'),
  firmware: cold('Firmware is loaded when the guest is powered on.'),
  disks: (live, next, path) => lists(live, next, path, driveChange),
  networks: (live, next, path) => lists(live, next, path, cardChange),
  display: cold('The graphics card sits on the main bus, which takes no device while the guest runs.'),
  usbInput: cold('The USB controller sits on the main bus, which takes no device while the guest runs.'),
  serial: cold('The serial port is part of the mainboard.'),
  rng: cold('The random number device sits on the main bus, which takes no device while the guest runs.'),
  balloon: cold('The balloon device sits on the main bus, which takes no device while the guest runs.'),
  agentChannel: cold('The agent channel sits on the main bus, which takes no device while the guest runs.'),
  spareRootPorts: cold('PCIe ports are part of the mainboard.'),
  clock: cold('The hardware clock is set when the guest is powered on.'),
  clockOffsetSeconds: cold('The hardware clock is set when the guest is powered on.'),
  secureBoot: cold('Firmware is loaded when the guest is powered on.'),
  tpm: cold('The security chip is part of the mainboard.'),
  bootMenu: cold('Firmware is loaded when the guest is powered on.'),
  smbios: cold('The firmware hands these texts over when the guest is powered on.'),
  hyperv: cold('A running system has already looked at its CPU and relies on it.'),
  iommu: cold('The IOMMU is part of the mainboard.'),
  directKernel: cold('The kernel is loaded when the guest is powered on.'),
  ps2: cold('The PS/2 controller is part of the mainboard.'),
  pvpanic: cold('The panic device sits on the main bus, which takes no device while the guest runs.'),
  maxCpus: cold('How many CPUs can be plugged is fixed when the guest is powered on.'),
  topology: cold('A running system has already looked at its CPU and relies on it.'),
  cpuFlags: cold('A running system has already looked at its CPU and relies on it.'),
  pinning: cold('CPUs are bound when the guest is powered on.'),
  numa: cold('The layout of CPUs and memory is fixed when the guest is powered on.'),
  memoryMaxMiB: cold('How much memory can be plugged is fixed when the guest is powered on.'),
  dimms: (live, next, path) => lists(live, next, path, replugged),
  virtioMem: cold('The virtio-mem device is part of the machine from power-on.'),
  hugePages: cold('The memory of a running guest stays where it is.'),
  balloonTargetMiB: cold('The balloon takes its size at the next start.'),
  freePageReporting: cold('The balloon device sits on the main bus, which takes no device while the guest runs.'),
  displayHeads: cold('The graphics card sits on the main bus, which takes no device while the guest runs.'),
  displayResolution: cold('The graphics card sits on the main bus, which takes no device while the guest runs.'),
  displayMemoryMiB: cold('The graphics card sits on the main bus, which takes no device while the guest runs.'),
  inputs: (live, next, path) => lists(live, next, path, replugged),
  usbController: cold('The USB controller sits on the main bus, which takes no device while the guest runs.'),
  usbPorts: cold('The USB controller sits on the main bus, which takes no device while the guest runs.'),
  sound: cold('The sound card sits on the main bus, which takes no device while the guest runs.'),
  clipboard: cold('The clipboard channel is plugged in at the next start.'),
  serialDevice: cold('The serial port is part of the mainboard.'),
  channels: (live, next, path) => lists(live, next, path, replugged),
  vsock: cold('The vsock device sits on the main bus, which takes no device while the guest runs.'),
  watchdog: cold('The watchdog sits on the main bus, which takes no device while the guest runs.'),
  shares: (live, next, path) => lists(live, next, path, replugged),
  hostDevices: (live, next, path) => lists(live, next, path, replugged),
  properties: cold('Properties are given to a device when it is made.'),
  rawArgs: cold('QEMU reads its options when the guest is powered on.'),
}

/**
 * @param live what the running QEMU was launched with
 * @param next the stored definition
 * @returns one entry per field or device that differs, in the order of the spec; empty when a restart would change nothing
 */
export function pendingChanges(live: VmSpec, next: VmSpec): PendingChange[] {
  return (Object.keys(RULES) as (keyof VmSpec)[]).flatMap((field) => apply(field, live, next))
}

function apply<K extends keyof VmSpec>(field: K, live: VmSpec, next: VmSpec): PendingChange[] {
  return RULES[field](live[field], next[field], `/${field}`)
}

/** Devices are compared by id. Paths point into `next`; for a removed device, at the end of it. */
function lists<T extends { readonly id: string }>(
  live: readonly T[],
  next: readonly T[],
  path: string,
  changed: (live: T, next: T) => string,
): PendingChange[] {
  const before = new Map(live.map((device) => [device.id, device]))
  const after = new Set(next.map((device) => device.id))
  const changes = next.flatMap((device, index): PendingChange[] => {
    const old = before.get(device.id)
    if (old === undefined)
      return [
        {
          path: `${path}/${index}`,
          live: null,
          next: device as Json,
          reason: `“${device.id}” is plugged in at the next start.`,
        },
      ]
    if (same(old, device)) return []
    return [{ path: `${path}/${index}`, live: old as Json, next: device as Json, reason: changed(old, device) }]
  })
  const removed: PendingChange[] = live
    .filter((device) => !after.has(device.id))
    .map((device) => ({
      path: `${path}/-`,
      live: device as Json,
      next: null,
      reason: `“${device.id}” stays plugged in until the guest is powered off.`,
    }))
  return [...changes, ...removed]
}

function driveChange(live: Drive, next: Drive): string {
  if (live.device === 'cdrom' && next.device === 'cdrom' && live.image !== next.image)
    return `The medium in “${next.id}” is changed at the next start.`
  if (live.device === 'disk' && next.device === 'disk' && live.sizeGiB !== next.sizeGiB)
    return `The guest sees the new size of “${next.id}” at the next start.`
  if (live.bootIndex !== next.bootIndex && same({ ...live, bootIndex: null }, { ...next, bootIndex: null }))
    return 'The boot order is read when the guest is powered on.'
  return `“${next.id}” is changed at the next start.`
}

function cardChange(live: NetworkCard, next: NetworkCard): string {
  const rest = { forwards: [], restrict: false }
  if (same({ ...live, ...rest }, { ...next, ...rest }))
    return `The network behind “${next.id}” is set up anew at the next start.`
  return `“${next.id}” is changed at the next start.`
}

const replugged = (_live: { readonly id: string }, next: { readonly id: string }): string =>
  `“${next.id}” is changed at the next start.`

/** Equality of JSON values, whatever the order of keys. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every(
    (k) => Object.hasOwn(b, k) && same((a as Record<string, unknown>)[k], (b as Record<string, unknown>)[k]),
  )
}
