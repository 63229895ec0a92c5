/** Drivers of the test guests, by the name of their module; the kernel of a flavour may lack some or have them built in. */

/** What the guests of most tests meet: the default machine and virtio. */
export const BASIC_MODULES: readonly string[] = [
  ...['virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio_scsi', 'virtio_net', 'virtio_rng', 'virtio_balloon'],
  ...['virtio_console', 'virtio_input', 'virtio-gpu', 'virtio_mem', 'virtio_crypto', '9p', '9pnet_virtio', 'virtiofs'],
  ...['ahci', 'ata_piix', 'sd_mod', 'sr_mod', 'nvme', 'isofs', 'ext4', 'vfat', 'nls_ascii', 'nls_cp437'],
  ...['crc32c_generic', 'e1000', 'e1000e', 'af_packet', 'ipv6', 'bochs', 'drm', 'evdev', 'psmouse'],
  ...['hid', 'hid-generic', 'usbhid', 'xhci-pci', 'xhci-hcd', 'usb-storage', 'uas', 'button', 'rtc-cmos'],
  ...['qemu_fw_cfg', 'vmgenid', 'i6300esb', 'pvpanic', 'pvpanic-pci', 'pvpanic-mmio', 'tpm_tis', 'tpm_crb'],
  ...['snd-hda-intel', 'snd-hda-codec-generic'],
]

/** Everything QEMU can put into a machine and Debian's kernel drives. */
export const DEVICE_MODULES: readonly string[] = [
  ...BASIC_MODULES,
  // Memory and its kin.
  ...['virtio_pmem', 'nd_virtio', 'nd_pmem', 'nfit', 'device_dax', 'kmem', 'dax_pmem'],
  // Storage controllers and what hangs on them.
  ...['sym53c8xx', 'megaraid_sas', 'mptsas', 'mptspi', 'vmw_pvscsi', 'am53c974', 'sg', 'st', 'ses'],
  ...['sdhci-pci', 'mmc_block', 'floppy', 'efivarfs', 'fuse', '9pnet'],
  // Network cards.
  ...['8139cp', '8139too', 'e100', 'pcnet32', 'ne2k-pci', 'tulip', 'vmxnet3', 'igb', 'igbvf', 'tun'],
  ...['usbnet', 'cdc_ether', 'cdc_subset', 'rndis_host'],
  // USB controllers and devices.
  ...['ehci-pci', 'uhci-hcd', 'ohci-pci', 'usbserial', 'ftdi_sio', 'cdc-acm', 'wacom'],
  // Screens, input and sound.
  ...['qxl', 'cirrus', 'vmwgfx', 'serio_raw', 'joydev'],
  ...['snd-intel8x0', 'snd-ens1370', 'snd-ens1371', 'snd-usb-audio', 'snd-pcm-oss'],
  // Channels, watchdogs, buses.
  ...['vsock', 'vmw_vsock_virtio_transport', 'vsock_loopback', 'parport_pc', 'ppdev', 'lp'],
  ...['iTCO_wdt', 'lpc_ich', 'ib700wdt', 'i2c-i801', 'i2c-piix4', 'i2c-smbus', 'ipmi_si', 'ipmi_devintf'],
]
