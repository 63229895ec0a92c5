/**
 * Types whose properties are asked for: what guests are made of and what the forms show.
 * A build answers for those it has; asking for one it lacks is a plain error.
 *
 * Never add the `-gl` displays: `device-list-properties` of them ends a Debian 12 QEMU
 * ("missing object type virtio-gpu-gl-device").
 */
export const INTROSPECTED_DEVICES: readonly string[] = [
  // Disks, CDs and what they hang on
  ...['virtio-blk-pci', 'virtio-scsi-pci', 'scsi-hd', 'scsi-cd', 'nvme', 'nvme-ns', 'ich9-ahci', 'ide-hd', 'ide-cd'],
  ...['usb-storage', 'usb-bot', 'usb-uas', 'floppy', 'isa-fdc', 'virtio-blk-device', 'virtio-scsi-device'],
  // Network cards
  ...['virtio-net-pci', 'e1000e', 'e1000', 'rtl8139', 'vmxnet3', 'igb', 'usb-net', 'virtio-net-device'],
  // Displays
  ...['virtio-vga', 'virtio-gpu-pci', 'VGA', 'bochs-display', 'qxl-vga', 'qxl', 'ramfb', 'secondary-vga'],
  ...['virtio-gpu-device'],
  // Input
  ...['usb-tablet', 'usb-kbd', 'usb-mouse', 'virtio-tablet-pci', 'virtio-keyboard-pci', 'virtio-mouse-pci'],
  ...['virtio-multitouch-pci', 'virtio-tablet-device', 'virtio-keyboard-device', 'virtio-mouse-device'],
  // Sound
  ...['ich9-intel-hda', 'intel-hda', 'hda-duplex', 'hda-output', 'hda-micro', 'AC97', 'virtio-sound-pci'],
  // Channels
  ...['virtio-serial-pci', 'virtserialport', 'virtconsole', 'isa-serial', 'pci-serial', 'usb-serial'],
  ...['vhost-vsock-pci', 'virtio-serial-device', 'vhost-vsock-device', 'isa-debug-exit', 'isa-debugcon'],
  // Memory, random numbers, watchdogs and the like
  ...['virtio-rng-pci', 'virtio-balloon-pci', 'virtio-mem-pci', 'pc-dimm', 'nvdimm', 'i6300esb', 'ib700'],
  ...['pvpanic', 'pvpanic-pci', 'vmgenid', 'vmcoreinfo', 'virtio-crypto-pci', 'virtio-rng-device'],
  ...['virtio-balloon-device', 'tpm-crb', 'tpm-tis'],
  // Shared folders
  ...['vhost-user-fs-pci', 'virtio-9p-pci', 'vhost-user-fs-device', 'virtio-9p-device'],
  // Buses
  ...['qemu-xhci', 'nec-usb-xhci', 'usb-ehci', 'ich9-usb-ehci1', 'ich9-usb-uhci1', 'piix3-usb-uhci', 'usb-hub'],
  ...['pcie-root-port', 'pcie-pci-bridge', 'pci-bridge', 'intel-iommu', 'virtio-iommu-pci'],
  // Devices of the host
  ...['usb-host', 'usb-redir', 'vfio-pci', 'vfio-pci-nohotplug'],
  // Parts of the mainboard that take settings by -global
  ...['ICH9-LPC', 'PIIX4_PM', 'kvm-pit', 'isa-pit', 'mc146818rtc'],
]

/** For `-object`. */
export const INTROSPECTED_OBJECTS: readonly string[] = [
  ...['memory-backend-ram', 'memory-backend-memfd', 'memory-backend-file', 'thread-context'],
  ...['iothread', 'throttle-group', 'rng-random', 'rng-builtin', 'cryptodev-backend-builtin', 'iommufd'],
]
