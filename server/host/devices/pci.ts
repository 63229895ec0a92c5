/** PCI devices of the host from /sys/bus/pci, and which of them a guest could have. */
import type { HostDevices, MdevInstance, MdevType, PciDevice } from '#lib/schema/host-devices.ts'
import { className, type HardwareNames, readHardwareNames } from './names.ts'
import type { Tree } from './tree.ts'
import { type Use, usesBelow } from './uses.ts'

const DEVICES = 'sys/bus/pci/devices'
const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/
/** Drivers that hold a device for guests and do nothing else with it. */
const STAND_INS = new Set(['vfio-pci', 'pci-stub'])

type Raw = Omit<PciDevice, 'vendorName' | 'deviceName' | 'groupWith' | 'assignable' | 'reason'>

export async function readPci(tree: Tree, iommu: HostDevices['iommu'], uses: readonly Use[]): Promise<PciDevice[]> {
  const raw = tree
    .list(DEVICES)
    .filter((address) => ADDRESS.test(address))
    .map((address) => readDevice(tree, address, uses))
  const names = await readHardwareNames(tree, 'pci.ids', new Set(raw.map((device) => device.vendorId)))
  return raw.map((device) => judge(device, raw, names, iommu))
}

function readDevice(tree: Tree, address: string, uses: readonly Use[]): Raw {
  const dir = `${DEVICES}/${address}`
  const hex = (name: string, digits: number) =>
    (tree.text(`${dir}/${name}`) ?? '').replace(/^0x/, '').toLowerCase().padStart(digits, '0')
  const classCode = hex('class', 6)
  const isBridge = classCode.startsWith('06')
  const group = tree.link(`${dir}/iommu_group`)
  const node = tree.int(`${dir}/numa_node`)
  const total = tree.int(`${dir}/sriov_totalvfs`)
  return {
    address,
    classCode,
    className: className(classCode),
    vendorId: hex('vendor', 4),
    deviceId: hex('device', 4),
    driver: tree.link(`${dir}/driver`),
    iommuGroup: group !== null && /^\d+$/.test(group) ? Number(group) : null,
    isBridge,
    bootVga: tree.int(`${dir}/boot_vga`) === 1,
    // Below a bridge lies what is not its own.
    usedFor: isBridge ? [] : usesBelow(uses, tree.real(dir)),
    numaNode: node === null || node < 0 ? null : node,
    sriov: total === null || total === 0 ? null : { total, functions: virtualFunctions(tree, dir) },
    physicalFunction: tree.link(`${dir}/physfn`),
  }
}

function virtualFunctions(tree: Tree, dir: string): string[] {
  return tree
    .list(dir)
    .filter((name) => /^virtfn\d+$/.test(name))
    .map((name) => tree.link(`${dir}/${name}`))
    .filter((address) => address !== null)
}

function judge(device: Raw, all: readonly Raw[], names: HardwareNames, iommu: HostDevices['iommu']): PciDevice {
  const { iommuGroup } = device
  const others =
    iommuGroup === null
      ? []
      : all.filter((other) => other.iommuGroup === iommuGroup && other !== device && !other.isBridge)
  const reason = whyNot(device, others, iommu)
  return {
    ...device,
    vendorName: names.vendor(device.vendorId),
    deviceName: names.device(device.vendorId, device.deviceId),
    groupWith: others.map((other) => other.address),
    assignable: reason === null,
    reason,
  }
}

function whyNot(device: Raw, others: readonly Raw[], iommu: HostDevices['iommu']): string | null {
  if (device.isBridge) return 'A bridge belongs to the host; what lies behind it can be handed out.'
  if (device.usedFor.length > 0) return `The host uses it: ${device.usedFor.join(', ')}.`
  if (device.bootVga) return 'It is the display this host started with.'
  if ((device.sriov?.functions.length ?? 0) > 0) {
    return 'It has virtual functions, which would go with it. Hand out those instead.'
  }
  if (!iommu.enabled) return iommu.reason
  if (device.iommuGroup === null)
    return 'It is in no IOMMU group, so that nothing would keep it off the memory of others.'
  const inUse = others.filter((other) => other.usedFor.length > 0)
  if (inUse.length > 0) {
    const list = inUse.map((other) => `${other.address} (${other.usedFor.join(', ')})`).join(', ')
    return `It shares IOMMU group ${device.iommuGroup} with what the host uses: ${list}.`
  }
  const held = others.filter((other) => other.driver !== null && !STAND_INS.has(other.driver))
  if (held.length === 0) return null
  const list = held.map((other) => `${other.address} (${other.driver})`).join(', ')
  return `It shares IOMMU group ${device.iommuGroup} with devices bound to the host's drivers: ${list}. All of a group go together.`
}

/** Mediated devices: what a device can be divided into, and what was made (Documentation/driver-api/vfio-mediated-device). */
export function readMdev(tree: Tree): HostDevices['mdev'] {
  const types = tree.list('sys/class/mdev_bus').flatMap((parent) => {
    const dir = `sys/class/mdev_bus/${parent}/mdev_supported_types`
    return tree.list(dir).map(
      (id): MdevType => ({
        parent,
        id,
        name: tree.text(`${dir}/${id}/name`),
        description: tree.text(`${dir}/${id}/description`),
        available: tree.int(`${dir}/${id}/available_instances`) ?? 0,
      }),
    )
  })
  const instances = tree.list('sys/bus/mdev/devices').map((uuid): MdevInstance => {
    const dir = `sys/bus/mdev/devices/${uuid}`
    const group = tree.link(`${dir}/iommu_group`)
    return {
      uuid,
      parent: tree.real(dir)?.split('/').at(-2) ?? null,
      type: tree.link(`${dir}/mdev_type`),
      iommuGroup: group !== null && /^\d+$/.test(group) ? Number(group) : null,
    }
  })
  return { types, instances }
}
