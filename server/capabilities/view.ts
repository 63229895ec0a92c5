/** `QemuCapabilities` reduced to what the forms of the dashboard need. */
import type { CapabilitiesView } from '#lib/schema/host.ts'
import type { QemuCapabilities } from './types.ts'

/**
 * @param auto the accelerator `auto` takes on this host: what a CPU model lacks depends on it
 */
export function viewCapabilities(capabilities: QemuCapabilities, auto: 'kvm' | 'tcg'): CapabilitiesView {
  return {
    qemuVersion: capabilities.version,
    binary: capabilities.binary,
    machines: capabilities.machines.map(({ name, isDefault, deprecated, maxCpus }) => ({
      name,
      isDefault,
      deprecated,
      maxCpus,
    })),
    cpuModels: capabilities.cpuModels.map((model) => ({
      name: model.name,
      deprecated: model.deprecated,
      missing: [...(auto === 'kvm' ? model.unavailableFeatures : (model.unavailableUnderTcg ?? []))],
    })),
    devices: [...capabilities.types],
    // SeaBIOS is part of QEMU: it is what a q35 machine starts with when nothing else is said.
    firmware: { bios: true, uefi: capabilities.uefi !== null },
    accelerators: [...capabilities.accelerators],
  }
}
