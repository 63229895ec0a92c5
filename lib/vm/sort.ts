/** Orders of the VM list. Pure. */
import type { Vm, VmState } from '../schema/vm-state.ts'

export const VM_COLUMNS = [
  'state',
  'name',
  'guest',
  'accelerator',
  'cpu',
  'memory',
  'address',
  'owner',
  'project',
  'tags',
  'uptime',
] as const
export type VmColumn = (typeof VM_COLUMNS)[number]

/** What needs looking at comes first. */
const STATE_ORDER: Record<VmState, number> = {
  crashed: 0,
  unmanageable: 1,
  starting: 2,
  stopping: 3,
  saving: 4,
  migrating: 5,
  paused: 6,
  running: 7,
  off: 8,
}

// `web-2` before `web-10`.
const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })

const isOn = (vm: Vm) => vm.live !== undefined

const COMPARE: Record<VmColumn, (a: Vm, b: Vm) => number> = {
  state: (a, b) => STATE_ORDER[a.state] - STATE_ORDER[b.state],
  name: () => 0,
  guest: (a, b) => collator.compare(a.spec.guest, b.spec.guest),
  accelerator: (a, b) => collator.compare(a.accelerator.actual ?? '', b.accelerator.actual ?? ''),
  cpu: (a, b) => (a.live?.cpuLoad ?? -1) - (b.live?.cpuLoad ?? -1),
  memory: (a, b) => a.spec.memoryMiB - b.spec.memoryMiB,
  address: (a, b) => collator.compare(a.live?.addresses[0] ?? '\uffff', b.live?.addresses[0] ?? '\uffff'),
  owner: (a, b) => collator.compare(a.owner.name, b.owner.name),
  project: (a, b) => collator.compare(a.project?.name ?? '\uffff', b.project?.name ?? '\uffff'),
  tags: (a, b) => collator.compare(a.spec.tags.join(' ') || '\uffff', b.spec.tags.join(' ') || '\uffff'),
  // Longest up first when ascending by start; what is off has no uptime and comes last.
  uptime: (a, b) => Number(isOn(b)) - Number(isOn(a)) || a.since.localeCompare(b.since),
}

/** A sorted copy; equal rows are ordered by name, then id, so that live numbers never make equals dance. */
export function sortVms(vms: readonly Vm[], by: VmColumn, descending: boolean): Vm[] {
  const compare = COMPARE[by]
  const sign = descending ? -1 : 1
  const byName = by === 'name' ? sign : 1
  return vms.toSorted(
    (a, b) => sign * compare(a, b) || byName * collator.compare(a.name, b.name) || a.id.localeCompare(b.id),
  )
}

export const isVmColumn = (text: unknown): text is VmColumn => VM_COLUMNS.some((column) => column === text)
