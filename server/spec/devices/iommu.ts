/** IOMMU: which memory a device of the guest may reach. Sources: `hw/i386/intel_iommu.c`, `hw/virtio/virtio-iommu.c`. */
import { slotPlace } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

/** Before every device it watches over: QEMU asks for it when a PCI device is made. */
export function iommuOptions({ spec }: CompileInput): PlannedOption[] {
  if (spec.iommu === 'none') return []
  const about = {
    group: 'iommu',
    why: 'The guest can confine its own devices, which it needs to hand them on to guests of its own or to user programs.',
    origin: 'choice',
    field: '/iommu',
  } as const
  if (spec.iommu === 'virtio')
    return [
      jsonOption(
        '-device',
        { driver: 'virtio-iommu-pci', id: QEMU_IDS.iommu, ...slotPlace(spec, 'iommu') },
        { ...about, what: 'A paravirtual IOMMU, in Linux since 5.14 for PCs.' },
      ),
    ]
  const hasPassthrough = spec.hostDevices.some((device) => device.type === 'pci' || device.type === 'mdev')
  return [
    jsonOption(
      '-device',
      {
        driver: 'intel-iommu',
        id: QEMU_IDS.iommu,
        intremap: 'on',
        // Real hardware sees changes of the guest's tables only when the guest tells of them.
        ...(hasPassthrough ? { 'caching-mode': true } : {}),
      },
      { ...about, what: "Intel's IOMMU (VT-d) with interrupt remapping." },
    ),
  ]
}
