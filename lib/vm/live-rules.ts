/**
 * One rule per field of the spec: how the stored definition differs from what runs, and which of it can be made while
 * the guest runs. A field added to the schema does not compile until it has a rule here. Pure.
 */
import type { VmSpec } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'
import { bootOrderSteps, deviceRule } from './live-devices.ts'
import { DEVICE_LISTS } from './live-places.ts'
import type { DeviceList, LiveStep, RuleContext, Ruling } from './live-types.ts'
import { same } from './same.ts'

type Field = keyof VmSpec
type Rule = (context: RuleContext, field: Field) => Ruling
type Json = PendingChange['live']

const NOTHING: Ruling = { steps: [], differences: [] }

/** Never pending: only the dashboard uses it, or sets it beside QEMU. */
const immediate: Rule = ({ live, next }, field) =>
  same(live[field], next[field])
    ? NOTHING
    : { steps: [{ kind: 'note', field, values: { [field]: next[field] } }], differences: [] }

const difference = (
  { live, next }: RuleContext,
  field: Field,
  reason: string,
  waiting: PendingChange['waiting'],
): PendingChange => ({ path: `/${field}`, live: live[field] as Json, next: next[field] as Json, reason, waiting })

/** The whole value waits, for one reason. */
const cold =
  (reason: string): Rule =>
  (context, field) =>
    same(context.live[field], context.next[field])
      ? NOTHING
      : { steps: [], differences: [difference(context, field, reason, 'restart')] }

/** The whole value can be set, or `refuse` says why not. */
const settable =
  (
    reason: string,
    refuse: (context: RuleContext) => string | null,
    step: (next: VmSpec, live: VmSpec) => LiveStep,
  ): Rule =>
  (context, field) => {
    if (same(context.live[field], context.next[field])) return NOTHING
    const refusal = refuse(context)
    if (refusal !== null) return { steps: [], differences: [difference(context, field, refusal, 'restart')] }
    return {
      steps: [step(context.next, context.live)],
      differences: [difference(context, field, reason, 'apply')],
    }
  }

const devices: Rule = (context, field) => {
  const list = DEVICE_LISTS.find((name) => name === field)
  return list === undefined ? NOTHING : deviceRule(list, context)
}

const MAIN_BUS = 'sits on the main bus, which takes no device while the guest runs.'

const RULES: { readonly [K in Field]: Rule } = {
  name: immediate,
  description: immediate,
  tags: immediate,
  autostart: immediate,
  // Chooses defaults when a VM is made; the guest itself never sees it.
  guest: immediate,
  cpus,
  cpuModel: cold('A running system has already looked at its CPU and relies on it.'),
  memoryMiB: cold('The size of the memory is fixed while the guest runs.'),
  accelerator: cold('A running guest cannot move between KVM and TCG.'),
  machine: cold('The mainboard cannot be exchanged under a running guest.'),
  firmware: cold('Firmware is loaded when the guest is powered on.'),
  disks: devices,
  networks: devices,
  display: cold(`The graphics card ${MAIN_BUS}`),
  usbInput: cold(`The USB controller ${MAIN_BUS}`),
  serial: cold('The serial port is part of the mainboard.'),
  rng: cold(`The random number device ${MAIN_BUS}`),
  balloon: cold(`The balloon device ${MAIN_BUS}`),
  agentChannel: cold(`The agent channel ${MAIN_BUS}`),
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
  pvpanic: cold(`The panic device ${MAIN_BUS}`),
  generationId: cold('The firmware tells of this number when the guest is powered on.'),
  maxCpus: cold('How many CPUs can be plugged is fixed when the guest is powered on.'),
  topology: cold('A running system has already looked at its CPU and relies on it.'),
  cpuFlags: cold('A running system has already looked at its CPU and relies on it.'),
  pinning: cold('CPUs are bound when the guest is powered on.'),
  numa: cold('The layout of CPUs and memory is fixed when the guest is powered on.'),
  memoryMaxMiB: cold('How much memory can be plugged is fixed when the guest is powered on.'),
  dimms: devices,
  virtioMem,
  hugePages: cold('The memory of a running guest stays where it is.'),
  balloonTargetMiB: settable(
    'The guest can be asked for the memory at once.',
    ({ live }) => (live.balloon ? null : 'The running guest has no balloon device.'),
    (next) => ({ kind: 'balloon', field: 'balloonTargetMiB', targetMiB: next.balloonTargetMiB }),
  ),
  freePageReporting: cold(`The balloon device ${MAIN_BUS}`),
  // Kept by the host's kernel; QEMU knows nothing of them.
  cpuWeight: immediate,
  cpuLimit: immediate,
  ioWeight: immediate,
  memoryCap: immediate,
  displayHeads: cold(`The graphics card ${MAIN_BUS}`),
  displayResolution: cold(`The graphics card ${MAIN_BUS}`),
  displayMemoryMiB: cold(`The graphics card ${MAIN_BUS}`),
  inputs: devices,
  usbController: cold(`The USB controller ${MAIN_BUS}`),
  usbPorts: cold(`The USB controller ${MAIN_BUS}`),
  sound: cold(`The sound card ${MAIN_BUS}`),
  clipboard: cold('The clipboard channel is plugged in at the next start.'),
  serialDevice: cold('The serial port is part of the mainboard.'),
  channels: devices,
  vsock: cold(`The vsock device ${MAIN_BUS}`),
  watchdog,
  shares: devices,
  hostDevices: devices,
  properties,
  rawArgs: cold('QEMU reads its options when the guest is powered on.'),
}

function cpus(context: RuleContext): Ruling {
  const { live, next, facts } = context
  if (live.cpus === next.cpus) return NOTHING
  const wait = (reason: string): Ruling => ({
    steps: [],
    differences: [difference(context, 'cpus', reason, 'restart')],
  })
  if (next.cpus > live.maxCpus)
    return wait(`The guest was started with room for ${live.maxCpus} CPUs; more need a restart.`)
  if (next.cpus < live.cpus && !facts.canUnplugCpus)
    return wait('Under software emulation QEMU cannot take CPUs from a running guest without harm.')
  const asked = next.cpus < live.cpus && [...facts.awaited.keys()].find((id) => id.startsWith('cpu-'))
  return {
    steps: [{ kind: 'cpus', field: 'cpus', before: live.cpus, cpus: next.cpus }],
    differences: [
      asked
        ? difference(context, 'cpus', facts.awaited.get(asked) ?? 'The guest has not released its CPUs yet.', 'guest')
        : difference(context, 'cpus', 'CPUs can be plugged and unplugged at once.', 'apply'),
    ],
  }
}

function virtioMem(context: RuleContext): Ruling {
  const [live, next] = [context.live.virtioMem, context.next.virtioMem]
  if (same(live, next)) return NOTHING
  if (live === null || next === null || live.sizeMiB !== next.sizeMiB) {
    const reason = 'The virtio-mem device is part of the machine from power-on.'
    return { steps: [], differences: [difference(context, 'virtioMem', reason, 'restart')] }
  }
  return {
    steps: [{ kind: 'virtio-mem', field: 'virtioMem.requestedMiB', requestedMiB: next.requestedMiB }],
    differences: [difference(context, 'virtioMem', 'Memory can be given and taken at once.', 'apply')],
  }
}

function watchdog(context: RuleContext): Ruling {
  const { live, next } = context
  if (same(live.watchdog, next.watchdog)) return NOTHING
  const sameDevice = live.watchdog !== null && next.watchdog !== null && live.watchdog.model === next.watchdog.model
  if (!sameDevice || next.watchdog === null) {
    return { steps: [], differences: [difference(context, 'watchdog', `The watchdog ${MAIN_BUS}`, 'restart')] }
  }
  return {
    steps: [{ kind: 'watchdog', field: 'watchdog.action', action: next.watchdog.action }],
    differences: [difference(context, 'watchdog', 'What the watchdog does can be changed at once.', 'apply')],
  }
}

/** Properties of a device that is not there yet come with it; of one that has gone they mean nothing. */
function properties(context: RuleContext): Ruling {
  const { live, next } = context
  const present = new Set(DEVICE_LISTS.flatMap((list: DeviceList) => live[list].map((device) => device.id)))
  const wanted = new Set(DEVICE_LISTS.flatMap((list: DeviceList) => next[list].map((device) => device.id)))
  const stays = (id: string) => present.has(id) === wanted.has(id)
  const changed = [...new Set([...Object.keys(live.properties), ...Object.keys(next.properties)])]
    .filter((id) => stays(id) && !same(live.properties[id], next.properties[id]))
    .sort()
  return {
    steps: [],
    differences: changed.map((id) => ({
      path: `/properties/${id}`,
      live: (live.properties[id] ?? null) as Json,
      next: (next.properties[id] ?? null) as Json,
      reason: 'Properties are given to a device when it is made.',
      waiting: 'restart',
    })),
  }
}

/** Every difference in the order of the spec, and the steps that would end those that need no restart, in no order. */
export function ruleOn(context: RuleContext): Ruling {
  const rulings = (Object.keys(RULES) as Field[]).map((field) => RULES[field](context, field))
  return {
    steps: [...rulings.flatMap((ruling) => ruling.steps), ...bootOrderSteps(context)],
    differences: rulings.flatMap((ruling) => ruling.differences),
  }
}
