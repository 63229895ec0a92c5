/** Machine, CPU, memory, firmware, clock. */
import { MIB } from '#lib/units.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption, option, plural } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export function machineOptions({ spec, accelerator }: CompileInput): PlannedOption[] {
  const group = 'machine'
  const properties = [
    spec.machine,
    'usb=off',
    'vmport=off',
    'dump-guest-core=off',
    'mem-merge=off',
    // Without a display SeaBIOS and what follows it would write to nobody; this sends them to the serial console.
    ...(spec.display === 'none' && spec.serial ? ['graphics=off'] : []),
    `memory-backend=${QEMU_IDS.memory}`,
    ...(spec.firmware === 'uefi' ? [`pflash0=${QEMU_IDS.firmwareCode}`, `pflash1=${QEMU_IDS.firmwareVars}`] : []),
  ]
  return [
    option(['-machine', properties.join(',')], {
      group,
      what: `The mainboard: Intel Q35 chipset with PCI Express, as QEMU ${spec.machine.slice('pc-q35-'.length)} built it, without VMware port, built-in USB or memory sharing between guests; its memory stays out of crash dumps.`,
      why: 'The version is fixed at creation, so that an update of QEMU never changes the hardware under an installed system. Shared memory pages let one guest spy on another.',
      origin: 'default',
      field: '/machine',
    }),
    accelerator.kind === 'kvm'
      ? option(['-accel', 'kvm'], {
          group,
          what: "The host's CPU runs the guest's code itself, through Linux's KVM.",
          why: accelerator.reason,
          origin: spec.accelerator === 'auto' ? 'default' : 'choice',
          field: '/accelerator',
        })
      : option(['-accel', `tcg,tb-size=${translationCacheMiB(spec.memoryMiB)}`], {
          group,
          what: `QEMU translates the guest's code (TCG), with ${translationCacheMiB(spec.memoryMiB)} MiB for translations. Works everywhere; ten times slower or more, and no wall against a hostile guest.`,
          why: accelerator.reason,
          origin: spec.accelerator === 'auto' ? 'default' : 'choice',
          field: '/accelerator',
        }),
    option(['-rtc', `base=${spec.clock},driftfix=slew`], {
      group,
      what: `The hardware clock shows ${spec.clock === 'utc' ? 'UTC' : "the host's local time"}; ticks the guest missed are made up for slowly.`,
      why:
        spec.clock === 'utc'
          ? 'Everything but Windows expects UTC there.'
          : 'Windows expects local time there and would show a wrong hour otherwise.',
      origin: 'default',
      field: '/clock',
    }),
    ...(accelerator.kind === 'kvm'
      ? [
          option(['-global', 'kvm-pit.lost_tick_policy=delay'], {
            group,
            what: 'Timer ticks the guest missed are delivered late rather than all at once.',
            why: 'A burst of old ticks makes clocks in guests jump.',
            origin: 'plumbing',
          }),
        ]
      : []),
    ...['disable_s3', 'disable_s4'].map((property) =>
      option(['-global', `ICH9-LPC.${property}=1`], {
        group,
        what: `Does not offer the guest to ${property === 'disable_s3' ? 'sleep (S3)' : 'hibernate (S4)'}.`,
        why: 'A guest that goes to sleep by itself looks broken: nothing wakes it. Pause it from here instead.',
        origin: 'default',
      }),
    ),
    option(['-boot', 'strict=on'], {
      group,
      what: 'Boots only from devices that have a boot position, in that order.',
      why: 'So that a disk added for data is never booted by accident.',
      origin: 'default',
      field: '/disks',
    }),
  ]
}

/**
 * QEMU's default cache may take 1 GiB whatever the guest's size. 256 MiB is as fast for a Linux boot and takes half
 * the memory; small guests get less, in proportion.
 */
export function translationCacheMiB(memoryMiB: number): number {
  if (memoryMiB < 128) return 32
  if (memoryMiB < 512) return 64
  if (memoryMiB < 1024) return 128
  return 256
}

export function cpuModelFor(spec: CompileInput['spec'], accelerator: CompileInput['accelerator']): string {
  if (spec.cpuModel !== 'auto') return spec.cpuModel
  return accelerator.kind === 'kvm' ? 'host' : 'max'
}

export function cpuOptions({ spec, accelerator }: CompileInput): PlannedOption[] {
  const group = 'cpu'
  const model = cpuModelFor(spec, accelerator)
  return [
    option(['-cpu', model], {
      group,
      what:
        model === 'host'
          ? "The guest sees the host's own CPU model."
          : model === 'max'
            ? 'The guest sees a CPU with every feature QEMU can give it.'
            : `The guest sees a CPU of model ${model}.`,
      why:
        spec.cpuModel === 'auto'
          ? `Fastest choice under ${accelerator.kind === 'kvm' ? 'KVM' : 'TCG'}. Choose a named model when the guest is to move to other hosts.`
          : 'A fixed model is the same on every host that has its features.',
      origin: spec.cpuModel === 'auto' ? 'default' : 'choice',
      field: '/cpuModel',
    }),
    option(['-smp', `cpus=${spec.cpus},sockets=1,cores=${spec.cpus},threads=1`], {
      group,
      what: `${plural(spec.cpus, 'virtual CPU', 'virtual CPUs')}, as one socket with ${plural(spec.cpus, 'core', 'cores')}.`,
      why: 'One socket, because some systems are licensed by socket and use no more than one or two.',
      origin: 'choice',
      field: '/cpus',
    }),
  ]
}

export function memoryOptions({ spec }: CompileInput): PlannedOption[] {
  const group = 'memory'
  return [
    option(['-m', `${spec.memoryMiB}M`], {
      group,
      what: `${spec.memoryMiB} MiB of memory.`,
      why: 'Taken from the host as the guest touches it, not at once.',
      origin: 'choice',
      field: '/memoryMiB',
    }),
    jsonOption(
      '-object',
      { 'qom-type': 'memory-backend-memfd', id: QEMU_IDS.memory, size: spec.memoryMiB * MIB, share: false },
      {
        group,
        what: 'Keeps the memory in an anonymous file of the kernel, private to this process.',
        why: 'Never written to a disk file; other processes cannot map it.',
        origin: 'plumbing',
        field: '/memoryMiB',
      },
    ),
    option(['-overcommit', 'mem-lock=off'], {
      group,
      what: 'Allows the host to swap out memory the guest does not use.',
      why: 'Locked memory would have to fit all at once.',
      origin: 'default',
    }),
  ]
}

export function firmwareOptions({ spec, capabilities, paths }: CompileInput): PlannedOption[] {
  const group = 'firmware'
  if (spec.firmware !== 'uefi' || capabilities.uefi === null) return []
  return [
    jsonOption(
      '-blockdev',
      {
        driver: capabilities.uefi.format,
        'node-name': QEMU_IDS.firmwareCode,
        'read-only': true,
        ...(capabilities.uefi.format === 'qcow2' ? { backing: null } : {}),
        file: {
          driver: 'file',
          'node-name': `${QEMU_IDS.firmwareCode}.f`,
          filename: capabilities.uefi.code,
          'read-only': true,
        },
      },
      {
        group,
        what: 'The UEFI firmware (OVMF), read-only.',
        why: 'Starts the guest instead of the classic BIOS; needed by some systems and by disks beyond 2 TiB.',
        origin: 'choice',
        field: '/firmware',
      },
    ),
    jsonOption(
      '-blockdev',
      {
        driver: 'qcow2',
        'node-name': QEMU_IDS.firmwareVars,
        'read-only': false,
        backing: null,
        file: { driver: 'file', 'node-name': `${QEMU_IDS.firmwareVars}.f`, filename: paths.nvram, locking: 'on' },
      },
      {
        group,
        what: "This VM's own copy of the UEFI variables: boot entries and settings.",
        why: 'qcow2 rather than raw, so that snapshots can include it.',
        origin: 'plumbing',
        field: '/firmware',
      },
    ),
  ]
}
