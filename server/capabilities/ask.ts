/** The questions put to a throw-away QEMU; `assemble.ts` makes sense of the answers. */
import type { ChildUser } from '#server/platform/child.ts'
import type { QmpClient } from '#server/qmp/types.ts'
import type { RawAnswers } from './assemble.ts'
import { askThrowaway } from './throwaway.ts'

/**
 * Devices whose properties the command line is built from. Never add the `-gl` displays:
 * `device-list-properties` of them ends a Debian 12 QEMU ("missing object type virtio-gpu-gl-device").
 */
const INTROSPECTED_DEVICES = [
  'VGA',
  'ide-cd',
  'isa-debug-exit',
  'isa-serial',
  'pcie-root-port',
  'qemu-xhci',
  'usb-kbd',
  'usb-tablet',
  'virtio-balloon-pci',
  'virtio-blk-pci',
  'virtio-net-pci',
  'virtio-rng-pci',
  'virtio-serial-pci',
  'virtio-vga',
  'virtserialport',
] as const

const TIMEOUT_MS = 20_000

export interface AskOptions {
  readonly binary: string
  readonly user: ChildUser | null
  /** Whether `/dev/kvm` opens for that user. Not needed for anything but the CPU models' missing features. */
  readonly kvmOpens: boolean
  readonly signal?: AbortSignal | undefined
}

/** @throws ThrowawayFailed, QmpError, the system error when the binary cannot be started */
export async function askQemu(options: AskOptions): Promise<RawAnswers> {
  const { binary, user, signal } = options
  const process = { binary, user, signal, timeoutMs: TIMEOUT_MS }
  const [base, cpusUnderKvm] = await Promise.all([
    askThrowaway({ ...process, accelerator: 'tcg' }, askBase),
    options.kvmOpens
      ? askThrowaway({ ...process, accelerator: 'kvm' }, (qmp) => qmp.execute('query-cpu-definitions')).catch(
          () => null,
        )
      : null,
  ])
  return { ...base, cpusUnderKvm }
}

async function askBase(qmp: QmpClient): Promise<Omit<RawAnswers, 'cpusUnderKvm'>> {
  const [schema, machines, cpusUnderTcg, commandLineOptions, accelerators, types] = await Promise.all([
    qmp.execute('query-qmp-schema'),
    qmp.execute('query-machines'),
    qmp.execute('query-cpu-definitions'),
    qmp.execute('query-command-line-options'),
    qmp.execute('qom-list-types', { implements: 'accel', abstract: false }),
    qmp.execute('qom-list-types', { abstract: false }),
  ])
  const known = new Set(types.map((type) => type.name))
  const deviceProperties: { [device: string]: unknown } = {}
  for (const device of INTROSPECTED_DEVICES) {
    if (!known.has(device)) continue
    deviceProperties[device] = await qmp.execute('device-list-properties', { typename: device })
  }
  return {
    version: qmp.version,
    schema,
    machines,
    cpusUnderTcg,
    commandLineOptions,
    accelerators,
    types,
    deviceProperties,
  }
}
