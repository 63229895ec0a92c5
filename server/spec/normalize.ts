/**
 * What was asked → the complete spec. Pure: images, capabilities and fresh addresses are handed in.
 *
 * Defaults by guest kind: Linux 2 CPUs and 2 GiB, Windows 2 CPUs, 4 GiB, UEFI where installed, local time and a 64 GiB
 * blank disk size, BSD 1 CPU and 1 GiB, anything else 1 CPU and 1 GiB. Linux and Windows get virtio-vga, the others
 * the standard VGA card that every system drives. Disks are as given, none when left out.
 */
import type { GuestKind, VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { familyOf, hasGenerationId } from './bus.ts'
import { checkCapabilities, checkImages, checkStructure, type SpecProblem } from './check.ts'
import { completeDevices, NO_DEVICES } from './complete-devices.ts'
import { GUEST_DEFAULTS } from './guest-defaults.ts'
import type { NormalizeFacts } from './types.ts'

type DriveInput = NonNullable<VmSpecInput['disks']>[number]

/** Every field whose default depends on neither guest nor host. */
const OPTIONAL_DEFAULTS = {
  description: '',
  tags: [],
  autostart: false,
  accelerator: 'auto',
  secureBoot: false,
  tpm: 'none',
  bootMenu: false,
  smbios: null,
  clockOffsetSeconds: 0,
  iommu: 'none',
  directKernel: null,
  ps2: true,
  pvpanic: false,
  spareRootPorts: 4,
  topology: null,
  cpuModel: 'auto',
  cpuFlags: [],
  pinning: [],
  numa: [],
  memoryMaxMiB: null,
  virtioMem: null,
  hugePages: 'none',
  balloon: true,
  balloonTargetMiB: null,
  freePageReporting: true,
  cpuWeight: 100,
  cpuLimit: null,
  ioWeight: 100,
  memoryCap: true,
  displayHeads: 1,
  displayResolution: null,
  displayMemoryMiB: null,
  usbInput: true,
  usbController: 'qemu-xhci',
  usbPorts: 15,
  sound: 'none',
  clipboard: false,
  serial: true,
  serialDevice: 'isa-serial',
  agentChannel: true,
  vsock: null,
  rng: true,
  watchdog: null,
  properties: {},
  rawArgs: [],
} satisfies Partial<VmSpec>

/** What differs on microvm, which has virtio devices only and takes none while it runs. */
const MICROVM_DEFAULTS = {
  ps2: false,
  spareRootPorts: 0,
  usbInput: false,
  usbController: 'none',
} satisfies Partial<VmSpec>

/** What was given, without the keys that were left out. */
const given = <T extends object>(input: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  // Keys with undefined are gone.
  Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
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
  const guest = input.guest ?? guessGuest(disksInput, facts) ?? 'other'
  const defaults = GUEST_DEFAULTS[guest]
  const { capabilities } = facts
  const machine = versionedMachine(input.machine ?? 'q35', capabilities)
  const isMicrovm = familyOf(machine) === 'microvm'
  const cpus = input.cpus ?? defaults.cpus
  const scalars = { ...OPTIONAL_DEFAULTS, ...(isMicrovm ? MICROVM_DEFAULTS : {}), ...given(input) }
  const { usbController, usbPorts, usbInput } = scalars
  const context = { guest, machine, usbController, usbPorts, usbInput }
  const spec: VmSpec = {
    ...scalars,
    ...completeDevices({ ...input, disks: disksInput, networks: networksInput }, NO_DEVICES, context, facts),
    name: input.name,
    guest,
    cpus,
    maxCpus: input.maxCpus ?? cpus,
    memoryMiB: input.memoryMiB ?? defaults.memoryMiB,
    machine,
    firmware: input.firmware ?? defaultFirmware(input, defaults.prefersUefi, isMicrovm, facts),
    display: input.display ?? (isMicrovm ? 'none' : defaultDisplay(defaults.display, capabilities)),
    clock: input.clock ?? defaults.clock,
    hyperv: input.hyperv ?? guest === 'windows',
    generationId: input.generationId ?? (hasGenerationId(machine) && capabilities.types.includes('vmgenid')),
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
  const guest = patch.guest ?? spec.guest
  const machine = patch.machine === undefined ? spec.machine : versionedMachine(patch.machine, facts.capabilities)
  const { usbController, usbPorts, usbInput } = { ...spec, ...given(patch) }
  const context = { guest, machine, usbController, usbPorts, usbInput }
  const devices = completeDevices({ ...spec, ...given(patch) }, spec, context, facts)
  // CPUs beyond the former maximum raise it; one that was given is left for the check to refuse. microvm has no room.
  const kept = familyOf(machine) === 'microvm' ? (patch.cpus ?? spec.cpus) : spec.maxCpus
  const maxCpus = patch.maxCpus ?? Math.max(patch.cpus ?? 0, kept)
  // The schema has parsed every scalar of the patch to the type of its field.
  const next = { ...spec, ...given(patch), machine, maxCpus, ...devices } as VmSpec
  throwFirst([...checkKeptDisks(spec, next), ...checkAll(next, facts)])
  return next
}

function checkAll(spec: VmSpec, facts: NormalizeFacts): SpecProblem[] {
  return [...checkStructure(spec), ...checkImages(spec, facts.images), ...checkCapabilities(spec, facts.capabilities)]
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
      if (drive.shared !== old.shared)
        problems.push({
          code: 'bad_input',
          field: `disks.${index}.shared`,
          message: 'Whether a disk is shared is decided when it is made; remove the disk and add a new one.',
        })
      else if (drive.shared && drive.serial !== old.serial)
        problems.push({
          code: 'bad_input',
          field: `disks.${index}.serial`,
          message: 'The serial number of a shared disk says which disk it is; remove the disk and add another.',
        })
      if (drive.sizeGiB < old.sizeGiB)
        problems.push({
          code: 'conflict',
          field: `disks.${index}.sizeGiB`,
          message: `A disk cannot shrink: it has ${old.sizeGiB} GiB.`,
        })
    }
  })
  return problems
}

/** The media a VM would boot from, first one first, as the library knows them. */
function bootMedia(disks: readonly DriveInput[], facts: NormalizeFacts) {
  return disks
    .filter((drive) => typeof drive.image === 'string' && drive.bootIndex !== null)
    .map((drive, order) => ({ drive, rank: drive.bootIndex ?? (drive.device === 'cdrom' ? 100 : 200) + order }))
    .sort((a, b) => a.rank - b.rank)
    .flatMap(({ drive }) => facts.images.get(drive.image as string) ?? [])
}

/** The guest kind the library knows of the medium that would boot first. */
const guessGuest = (disks: readonly DriveInput[], facts: NormalizeFacts): GuestKind | null =>
  bootMedia(disks, facts).find(({ guest }) => guest !== null)?.guest ?? null

const VERSIONED = {
  q35: /^pc-q35-(\d+)\.(\d+)(?:\.(\d+))?$/,
  pc: /^pc-i440fx-(\d+)\.(\d+)(?:\.(\d+))?$/,
} as const

/**
 * Newest versioned type of a family that is not deprecated: what the alias `q35` or `pc` stands for, when QEMU says.
 * @throws EngineError bad_input when this QEMU has none
 */
export function newestMachine(capabilities: QemuCapabilities, family: keyof typeof VERSIONED = 'q35'): string {
  const versioned = capabilities.machines.filter((machine) => VERSIONED[family].test(machine.name))
  const aliased = versioned.find((machine) => machine.alias === family && !machine.deprecated)
  if (aliased !== undefined) return aliased.name
  const rank = (name: string) =>
    (VERSIONED[family].exec(name) ?? []).slice(1).reduce((sum, part) => sum * 1000 + Number(part ?? 0), 0)
  const best = versioned.filter((machine) => !machine.deprecated).sort((a, b) => rank(b.name) - rank(a.name))[0]
  if (best === undefined)
    throw new EngineError('bad_input', `QEMU ${capabilities.version} on this host has no ${family} machine type.`, {
      field: 'machine',
    })
  return best.name
}

/** A family's name becomes its newest version, which the VM keeps from then on. */
const versionedMachine = (machine: string, capabilities: QemuCapabilities): string =>
  machine === 'q35' || machine === 'pc' ? newestMachine(capabilities, machine) : machine

/**
 * Secure Boot is part of UEFI, so that asking for it asks for both. What starts from one kind of firmware alone gets
 * that one.
 */
function defaultFirmware(
  input: VmSpecInput,
  guestPrefersUefi: boolean,
  isMicrovm: boolean,
  facts: NormalizeFacts,
): VmSpec['firmware'] {
  if (input.secureBoot === true) return 'uefi'
  if (isMicrovm || facts.capabilities.uefi === null) return 'bios'
  const [only, another] = bootMedia(input.disks ?? [], facts)[0]?.bootModes ?? []
  if (only !== undefined && another === undefined) return only
  return guestPrefersUefi ? 'uefi' : 'bios'
}

function defaultDisplay(wanted: 'virtio-vga' | 'std', capabilities: QemuCapabilities): VmSpec['display'] {
  if (wanted === 'virtio-vga' && capabilities.types.includes('virtio-vga')) return 'virtio-vga'
  return capabilities.types.includes('VGA') ? 'std' : 'none'
}
