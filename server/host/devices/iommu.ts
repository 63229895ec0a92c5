/** Whether the IOMMU is on, by what the kernel shows; when it is off, why. */
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { Tree } from './tree.ts'

const GROUPS = 'sys/kernel/iommu_groups'

export function readIommu(tree: Tree): HostDevices['iommu'] {
  const groups = tree.list(GROUPS).length
  if (groups > 0) {
    const units = tree.list('sys/class/iommu').join(', ')
    return {
      enabled: true,
      groups,
      reason: `The IOMMU${units === '' ? '' : ` (${units})`} keeps devices in ${groups} groups; a group is handed out as a whole.`,
    }
  }
  return { enabled: false, groups: 0, reason: whyOff(tree) }
}

function whyOff(tree: Tree): string {
  const cmdline = tree.text('proc/cmdline') ?? ''
  if (/\b(?:intel_iommu|amd_iommu|iommu)=off\b/.test(cmdline)) {
    return 'The kernel command line switches the IOMMU off. Remove that and restart the host.'
  }
  const tables = tree.list('sys/firmware/acpi/tables')
  // DMAR describes Intel's VT-d, IVRS AMD's AMD-Vi; firmware writes them only while it is switched on there.
  if (tables.includes('DMAR')) {
    return 'The firmware offers an IOMMU (VT-d), but the kernel does not use it. Add intel_iommu=on to the kernel command line and restart the host.'
  }
  if (tables.includes('IVRS')) {
    return 'The firmware offers an IOMMU (AMD-Vi), but the kernel does not use it. Look for amd_iommu in the kernel command line and for AMD-Vi in the kernel log.'
  }
  if (/^flags\s*:.*\bhypervisor\b/m.test(tree.text('proc/cpuinfo') ?? '')) {
    return 'This host is itself a virtual machine, and what it runs on gives it no IOMMU. PCI devices cannot be handed to guests here.'
  }
  return 'The firmware offers no IOMMU. Switch on VT-d (Intel) or AMD-Vi (AMD, also called IOMMU or SVM) in the firmware setup (BIOS) of this machine.'
}
