/** Sound, watchdog, vsock, random numbers: small devices that are there once. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf, virtioDriver } from '../bus.ts'
import { soundDrivers } from '../devices/sound.ts'
import type { CompileProblem } from '../types.ts'
import { bad, type NeededType, type SpecProblem } from './problem.ts'

export function checkHelpers(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const family = familyOf(spec.machine)
  if (family === 'microvm' && (spec.sound === 'hda' || spec.sound === 'ac97'))
    problems.push(bad('sound', 'microvm has no PCI bus for this sound card; choose “virtio-sound” or none.'))
  if (spec.watchdog?.model === 'itco' && family !== 'q35')
    problems.push(bad('watchdog.model', 'Only q35 mainboards have this watchdog; choose “i6300esb”.'))
  if (spec.watchdog?.model === 'i6300esb' && family === 'microvm')
    problems.push(bad('watchdog.model', 'microvm has no PCI bus for a watchdog card.'))
  return problems
}

export function helperTypes(spec: VmSpec): NeededType[] {
  return [
    ...soundDrivers(spec).map((driver): NeededType => [driver, 'sound']),
    ...(spec.watchdog?.model === 'i6300esb' ? [['i6300esb', 'watchdog.model'] as const] : []),
    ...(spec.vsock === null ? [] : [[virtioDriver(spec, 'vhost-vsock'), 'vsock'] as const]),
    ...(spec.rng ? [[virtioDriver(spec, 'virtio-rng'), 'rng'] as const] : []),
  ]
}

export function checkWatchdogStrap(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const chipset = capabilities.deviceProperties['ICH9-LPC'] ?? []
  return spec.watchdog?.model === 'itco' && !chipset.some((property) => property.name === 'noreboot')
    ? [bad('watchdog.model', `QEMU ${capabilities.version} on this host cannot switch this watchdog on.`)]
    : []
}

/** QEMU ends at once without the kernel's device. */
export function checkVsockHost(spec: VmSpec, host: { readonly vhostVsock: boolean }): CompileProblem[] {
  return spec.vsock !== null && !host.vhostVsock
    ? [
        {
          field: 'vsock',
          message:
            'This host has no /dev/vhost-vsock. Load its kernel module (modprobe vhost_vsock), or switch vsock off.',
        },
      ]
    : []
}
