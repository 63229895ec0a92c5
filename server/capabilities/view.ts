/** `QemuCapabilities` reduced to what the forms of the dashboard need. */
import type { CapabilitiesView, DeviceType } from '#lib/schema/host.ts'
import type { DeviceProperty, QemuCapabilities } from './types.ts'

/**
 * @param auto the accelerator `auto` takes on this host: what a CPU lacks depends on it
 * @param offers what this host can give beyond QEMU
 */
export function viewCapabilities(
  capabilities: QemuCapabilities,
  auto: 'kvm' | 'tcg',
  offers: CapabilitiesView['offers'],
): CapabilitiesView {
  const { features, backends } = capabilities
  return {
    qemuVersion: capabilities.version,
    binary: capabilities.binary,
    machines: capabilities.machines.map(({ name, isDefault, deprecated, maxCpus, family, hotpluggableCpus }) => ({
      name,
      isDefault,
      deprecated,
      maxCpus,
      family,
      hotpluggableCpus,
    })),
    cpuModels: capabilities.cpuModels.map((model) => ({
      name: model.name,
      deprecated: model.deprecated,
      missing: [...(auto === 'kvm' ? model.unavailableFeatures : (model.unavailableUnderTcg ?? []))],
      aliasOf: model.aliasOf,
      migrationSafe: model.migrationSafe,
    })),
    cpuFlags: capabilities.cpuFlags.map(({ name, tcg, kvm }) => ({
      name,
      given: auto === 'kvm' ? kvm === true : tcg,
    })),
    hyperv: capabilities.cpuProperties.map(({ name }) => name).filter((name) => name.startsWith('hv-')),
    devices: [...new Set([...capabilities.types, ...capabilities.objectTypes])].sort(),
    described: Object.keys(capabilities.deviceProperties),
    backends: {
      netdev: [...backends.netdev],
      chardev: [...backends.chardev],
      blockdev: [...backends.blockdev],
      audiodev: [...backends.audiodev],
      tpm: [...backends.tpm],
    },
    features: {
      vdagent: features.vdagent,
      spice: features.spice,
      throttleFilter: features.throttleFilter,
      ioUring: features.ioUring,
      iothreadVqMapping: features.iothreadVqMapping,
      netdevStream: features.netdevStream,
      netdevPasst: features.netdevPasst,
      tpmEmulator: features.tpmEmulator,
      memoryMemfd: features.memoryMemfd,
      iommufd: features.iommufd,
      snapshotSave: features.snapshotSave,
      // Under TCG the CPU could not come back: QEMU aborts then (tcg_register_thread).
      cpuUnplug: auto === 'kvm',
    },
    // SeaBIOS is part of QEMU: it is what a q35 machine starts with when nothing else is said.
    firmware: {
      bios: true,
      uefi: capabilities.uefi !== null,
      secureBoot: capabilities.secureBoot !== null,
      microvm: capabilities.microvmFirmware.bios !== null,
    },
    offers,
    accelerators: [...capabilities.accelerators],
  }
}

/** Properties known without asking QEMU anew; null for any other type. `q35`, `pc`, `microvm` and `cpu` are taken as well. */
export function knownProperties(
  capabilities: Pick<QemuCapabilities, 'cpuProperties' | 'machineProperties' | 'deviceProperties'>,
  type: string,
): readonly DeviceProperty[] | null {
  if (type === 'cpu') return capabilities.cpuProperties
  if (type === 'q35' || type === 'pc' || type === 'microvm') return capabilities.machineProperties[type]
  return Object.hasOwn(capabilities.deviceProperties, type) ? (capabilities.deviceProperties[type] ?? null) : null
}

/** As the contract has it. */
export function viewDeviceType(type: string, properties: readonly DeviceProperty[]): DeviceType {
  return {
    type,
    properties: properties.map((property) => ({
      ...property,
      values: property.values === null ? null : [...property.values],
    })),
  }
}
