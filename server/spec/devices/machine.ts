/** Mainboard, accelerator, clock, power. Sources: QEMU docs `system/invocation`, `system/i386/microvm`, `hw/i386/pc*.c`. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf, type MachineFamily, slotPlace, versionOf } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

const BOARDS: Readonly<Record<MachineFamily, string>> = {
  q35: 'The mainboard: Intel Q35 chipset with PCI Express',
  pc: 'The mainboard: Intel 440FX chipset of 1996 with plain PCI',
  microvm: 'The smallest mainboard QEMU has: no PCI, virtio devices only',
}

export function machineOptions(input: CompileInput): PlannedOption[] {
  const { spec } = input
  const family = familyOf(spec.machine)
  const version = spec.machine.slice(spec.machine.lastIndexOf('-') + 1)
  return [
    option(['-machine', machineProperties(input).join(',')], {
      group: 'machine',
      what:
        family === 'microvm'
          ? `${BOARDS.microvm}; with ACPI tables, through which the guest finds its devices. Its memory stays out of crash dumps and is not shared between guests.`
          : `${BOARDS[family]}, as QEMU ${version} built it, without VMware port, built-in USB or memory sharing between guests; its memory stays out of crash dumps.${spec.ps2 ? '' : ' No PS/2 keyboard and mouse.'}${spec.secureBoot ? ' System management mode is on, which guards the UEFI variables.' : ''}`,
      why:
        family === 'microvm'
          ? 'Starts fastest and has the least to attack; only guests with virtio drivers run on it, and nothing can be plugged in later.'
          : 'The version is fixed at creation, so that an update of QEMU never changes the hardware under an installed system. Shared memory pages let one guest spy on another.',
      origin: 'default',
      field: '/machine',
    }),
    acceleratorOption(input),
  ]
}

function machineProperties({ spec, capabilities }: CompileInput): string[] {
  const isMicrovm = familyOf(spec.machine) === 'microvm'
  return [
    spec.machine,
    ...(isMicrovm ? ['acpi=on', 'rtc=on', 'pcie=off'] : ['usb=off', 'vmport=off']),
    'dump-guest-core=off',
    'mem-merge=off',
    // Without a display SeaBIOS and what follows it would write to nobody; this sends them to the serial console.
    ...(spec.display === 'none' && spec.serial ? ['graphics=off'] : []),
    ...(spec.secureBoot && capabilities.secureBoot?.needsSmm === true ? ['smm=on'] : []),
    ...(spec.ps2 || isMicrovm ? [] : ['i8042=off']),
    // Nodes bring memory of their own (`-numa memdev=`); QEMU refuses both.
    ...(spec.numa.length === 0 ? [`memory-backend=${QEMU_IDS.memory}`] : []),
    ...(spec.firmware === 'uefi' ? [`pflash0=${QEMU_IDS.firmwareCode}`, `pflash1=${QEMU_IDS.firmwareVars}`] : []),
  ]
}

function acceleratorOption({ spec, accelerator }: CompileInput): PlannedOption {
  const about = {
    group: 'machine',
    why: accelerator.reason,
    origin: spec.accelerator === 'auto' ? 'default' : 'choice',
    field: '/accelerator',
  } as const
  if (accelerator.kind === 'kvm')
    // Interrupt remapping is done by QEMU's I/O APIC, so the kernel may keep only the local ones.
    return option(['-accel', spec.iommu === 'intel' ? 'kvm,kernel-irqchip=split' : 'kvm'], {
      ...about,
      what: "The host's CPU runs the guest's code itself, through Linux's KVM.",
    })
  const cacheMiB = translationCacheMiB(spec.memoryMiB)
  return option(['-accel', `tcg,tb-size=${cacheMiB}`], {
    ...about,
    what: `QEMU translates the guest's code (TCG), with ${cacheMiB} MiB for translations. Works everywhere; ten times slower or more, and no wall against a hostile guest.`,
  })
}

/**
 * QEMU's default cache may take 1 GiB whatever the guest's size. 256 MiB is as fast for a Linux boot and takes half
 * the memory; small guests get less, in proportion.
 */
function translationCacheMiB(memoryMiB: number): number {
  if (memoryMiB < 128) return 32
  if (memoryMiB < 512) return 64
  if (memoryMiB < 1024) return 128
  return 256
}

/** Hardware clock. QEMU counts on from `base` by the host's clock. */
export function clockOptions(input: CompileInput): PlannedOption[] {
  const { spec, accelerator } = input
  const group = 'machine'
  const isUtc = spec.clock === 'utc'
  const clock = isUtc ? 'UTC' : "the host's local time"
  const hasOffset = spec.clockOffsetSeconds !== 0
  return [
    option(['-rtc', `base=${clockBase(input)},driftfix=slew`], {
      group,
      what: hasOffset
        ? `The hardware clock starts ${Math.abs(spec.clockOffsetSeconds)} seconds ${spec.clockOffsetSeconds > 0 ? 'ahead of' : 'behind'} ${clock} and runs on from there; ticks the guest missed are made up for slowly.`
        : `The hardware clock shows ${clock}; ticks the guest missed are made up for slowly.`,
      why: hasOffset
        ? 'The definition asks for it. A guest that sets its clock over the network does not keep it.'
        : isUtc
          ? 'Everything but Windows expects UTC there.'
          : 'Windows expects local time there and would show a wrong hour otherwise.',
      origin: hasOffset ? 'choice' : 'default',
      field: hasOffset ? '/clockOffsetSeconds' : '/clock',
    }),
    ...(accelerator.kind === 'kvm' && familyOf(spec.machine) !== 'microvm'
      ? [
          option(['-global', 'kvm-pit.lost_tick_policy=delay'], {
            group,
            what: 'Timer ticks the guest missed are delivered late rather than all at once.',
            why: 'A burst of old ticks makes clocks in guests jump.',
            origin: 'plumbing',
          }),
        ]
      : []),
  ]
}

/** A date is what the clock shows, whatever the zone (`qemu_start_rtc_date`, system/rtc.c). */
function clockBase({ spec, startSeconds, host }: CompileInput): string {
  if (spec.clockOffsetSeconds === 0) return spec.clock
  const zone = spec.clock === 'localtime' ? (host.utcOffsetSeconds ?? 0) : 0
  return new Date((startSeconds + zone + spec.clockOffsetSeconds) * 1000).toISOString().slice(0, 19)
}

const POWER_CHIPS = { q35: 'ICH9-LPC', pc: 'PIIX4_PM', microvm: null } as const

/** Sleep states of the chipset's power management, off. */
export function sleepOptions({ spec }: CompileInput): PlannedOption[] {
  const chip = POWER_CHIPS[familyOf(spec.machine)]
  if (chip === null) return []
  return ['disable_s3', 'disable_s4'].map((property) =>
    option(['-global', `${chip}.${property}=1`], {
      group: 'machine',
      what: `Does not offer the guest to ${property === 'disable_s3' ? 'sleep (S3)' : 'hibernate (S4)'}.`,
      why: 'A guest that goes to sleep by itself looks broken: nothing wakes it. Pause it from here instead.',
      origin: 'default',
    }),
  )
}

/** Files for the firmware (fw_cfg) that boards before 2.9 have room for are 16 (`hw_compat_2_8`), and QEMU aborts at one more. */
export function firmwareFilesOptions({ spec }: CompileInput): PlannedOption[] {
  if (familyOf(spec.machine) === 'microvm' || versionOf(spec.machine) >= 2009) return []
  return [
    option(['-global', 'fw_cfg_io.x-file-slots=32'], {
      group: 'machine',
      what: 'Gives QEMU room for as many descriptions of the hardware as newer boards have, which the firmware reads.',
      why: 'This old board has room for 16. With several disks and a TPM there are more, and QEMU ends at once.',
      origin: 'plumbing',
    }),
  ]
}

/** virtio-mmio transports of microvm (`hw/virtio/virtio-mmio.c`). */
export function transportOptions({ spec }: CompileInput): PlannedOption[] {
  if (familyOf(spec.machine) !== 'microvm') return []
  return [
    option(['-global', 'virtio-mmio.force-legacy=false'], {
      group: 'machine',
      what: 'Virtio devices speak the present version of their protocol (1.0 and later).',
      why: "QEMU's default here is the draft from before the standard, which newer devices do not have.",
      origin: 'plumbing',
    }),
  ]
}

/** pvpanic (QEMU docs `specs/pvpanic`): a port that a dying kernel writes to. */
export function pvpanicOptions({ spec }: Pick<CompileInput, 'spec'>): PlannedOption[] {
  if (!spec.pvpanic) return []
  return [
    jsonOption(
      '-device',
      { driver: 'pvpanic-pci', id: QEMU_IDS.pvpanic, ...slotPlace(spec, 'pvpanic') },
      {
        group: 'pvpanic',
        what: 'A device through which the kernel of the guest tells that it has panicked.',
        why: 'The dashboard then knows that the guest is dead, not just busy, and says so.',
        origin: 'choice',
        field: '/pvpanic',
      },
    ),
  ]
}

/** VM generation ID (QEMU docs `specs/vmgenid`): memory of the guest that an ACPI table points to. */
export function generationOptions({ spec, vmId, generation }: CompileInput): PlannedOption[] {
  if (!spec.generationId) return []
  return [
    jsonOption(
      '-device',
      { driver: 'vmgenid', id: QEMU_IDS.generation, guid: generation ?? vmId },
      {
        group: 'generation',
        what: 'Tells the guest by a number that it is a copy, or that it went back in time.',
        why: 'It then draws new random numbers and keys instead of those that another copy has drawn already.',
        origin: 'choice',
        field: '/generationId',
      },
    ),
  ]
}

/** CPU model QEMU is given. */
export function cpuModelFor(spec: Pick<VmSpec, 'cpuModel'>, accelerator: CompileInput['accelerator']): string {
  if (spec.cpuModel !== 'auto') return spec.cpuModel
  return accelerator.kind === 'kvm' ? 'host' : 'max'
}
