/**
 * QEMU's refusals about what it was to take from the host: PCI and USB devices, vsock, shared folders. Texts of QEMU 7.2
 * to 11.1 (hw/vfio/pci.c, hw/vfio/container.c, hw/usb/host-libusb.c, hw/virtio/vhost-vsock.c, hw/9pfs/9p.c); those that need
 * hardware the test machines lack are from its source.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'

interface HostRule {
  readonly pattern: RegExp
  explain(match: RegExpExecArray): Pick<VmExit, 'code' | 'summary' | 'advice'>
}

const PCI = /(?<address>[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])/.source

export const HOST_RULES: readonly HostRule[] = [
  {
    pattern: new RegExp(`vfio .*${PCI}: no such host device`),
    explain: (match) => ({
      code: 'host-resource',
      summary: `The host has no PCI device ${match.groups?.address}.`,
      advice:
        'Its address may have changed when hardware was added or removed. Choose it again in the list of host devices.',
    }),
  },
  {
    pattern: /vfio .*mdev.*: no such host device/,
    explain: () => ({
      code: 'host-resource',
      summary: 'The host has no such mediated device.',
      advice: 'They are gone after a restart of the host: create it again with the same UUID, then start again.',
    }),
  },
  {
    pattern: new RegExp(`vfio .*${PCI}: no iommu_group found`),
    explain: (match) => ({
      code: 'host-resource',
      summary: `The PCI device ${match.groups?.address} is in no IOMMU group, so it cannot be handed to a guest.`,
      advice:
        'Switch the IOMMU on in the firmware of the host (VT-d, AMD-Vi) and on its kernel command line (intel_iommu=on), then restart the host.',
    }),
  },
  {
    pattern: /vfio .*group (?<group>\d+) is not viable/,
    explain: (match) => ({
      code: 'host-resource',
      summary: `The host still drives a device of IOMMU group ${match.groups?.group}.`,
      advice: 'Bind every device of the group to vfio-pci, or unbind it from its driver, then start again.',
    }),
  },
  {
    pattern: /vfio .*(?:failed to open \/dev\/vfio\/\S+|Could not open '\/dev\/vfio\/[^']*'): (?<why>.*)/,
    explain: (match) => busyOrDenied(match.groups?.why ?? '', 'the PCI device', '/dev/vfio'),
  },
  {
    pattern: /vfio.*(?:VFIO_MAP_DMA|vfio_dma_map|memory listener|failed to setup container).*Cannot allocate memory/s,
    explain: () => ({
      code: 'host-resource',
      summary: 'QEMU may not keep all of the guest’s memory in RAM, which a PCI device of the host needs.',
      advice: 'Raise the limit on locked memory (LimitMEMLOCK=infinity of the dashboard’s service), then start again.',
    }),
  },
  {
    pattern: /usb-host.*(?:failed to open|Could not open '?)\s*'?(?:\/dev\/bus\/usb\S*?)'?: (?<why>.*)/,
    explain: (match) => busyOrDenied(match.groups?.why ?? '', 'the USB device', '/dev/bus/usb'),
  },
  {
    pattern: /vhost-vsock: unable to set guest cid: Address already in use/,
    explain: () => ({
      code: 'host-resource',
      summary: 'Another guest on this host has the same vsock address.',
      advice: 'Choose another vsock address for this VM.',
    }),
  },
  {
    pattern: /(?:vhost-vsock: failed to open vhost device|Could not open '\/dev\/vhost-vsock'): (?<why>.*)/,
    explain: (match) => busyOrDenied(match.groups?.why ?? '', 'vsock', '/dev/vhost-vsock'),
  },
  {
    pattern: /cannot initialize fsdev '(?<id>[^']+)': .*: (?<why>[^\n:]+)/,
    explain: (match) => ({
      code: 'host-resource',
      summary: `The shared folder “${match.groups?.id?.replace(/\.fs$/, '')}” cannot be opened.`,
      advice: /denied/.test(match.groups?.why ?? '')
        ? 'Guests run as users of their own: let everybody read the directory and pass those above it (chmod o+rx).'
        : 'Put the directory back, or take the shared folder out of the definition.',
    }),
  },
]

function busyOrDenied(why: string, what: string, path: string): Pick<VmExit, 'code' | 'summary' | 'advice'> {
  const code = 'host-resource'
  if (/denied|not permitted/.test(why))
    return {
      code,
      summary: `QEMU may not open ${path}, which ${what} needs.`,
      advice:
        'Guests run as users of their own: give their group access to it by a udev rule (see the operator’s guide).',
    }
  if (/busy/.test(why))
    return { code, summary: `Another program has ${what}.`, advice: 'End that program or guest, then start again.' }
  return {
    code,
    summary: `The host has no ${path}, which ${what} needs.`,
    advice: 'Load the kernel module that provides it, plug the device in, or take it out of the definition.',
  }
}
