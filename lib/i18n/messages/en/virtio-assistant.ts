import { defineMessages } from '../../define.ts'

/** The steps that move a guest to virtio and back. */
export const virtioAssistant = defineMessages('virtioAssistant', {
  title: 'Move to virtio',
  direction: 'Direction',
  toVirtio: 'To virtio: faster, needs drivers in the guest',
  toEmulated: 'Back to emulated hardware: slower, every system knows it',
  intro: {
    'to-virtio':
      'virtio hardware is made for virtual machines and costs the host the least. A system that was installed on emulated hardware gets there step by step, its boot disk last. Every step leaves a guest that boots; you can stop after any and go on later.',
    'to-emulated':
      'Emulated hardware works without virtio drivers: for a system that is to be moved elsewhere, or repaired. The controllers are on the mainboard, so that the boot disk can go first.',
  },
  complete: {
    'to-virtio': 'Nothing to move: everything is virtio already.',
    'to-emulated': 'Nothing to move: no disk, card or display is virtio.',
  },
  microvm: 'A microvm has virtio devices only; there is nothing to go back to.',
  state: { done: 'done', next: 'next', later: 'later' },
  apply: 'Apply',
  applyNamed: 'Apply: {step}',
  applied: 'Done: {step}',
  failed: 'Not changed: {step}',
  waitsForStep: 'The step before comes first.',
  waitsForOff: 'Power the guest off first: a running guest cannot take this.',
  waitsForChanges: 'Changes still wait for the guest’s next start; let it start with them first.',
  waitsForCheck: 'Confirm first what you saw in the guest.',
  inGuest: 'Check in the guest',
  mayRun: 'The guest may run.',
  needsOff: 'The guest must be off.',
  openConsole: 'Open the console',
  dropsProperties: 'Properties set by hand for {devices} are taken out: the new device does not know them.',
  noDriverCd:
    'There is no CD with the virtio drivers in the library. Add the virtio-win ISO there, or install the drivers another way.',
  driverCdOnHost: 'A package of the host’s distribution has brought one; an administrator can register it there.',
  images: 'Images',
  confirmTitle: 'Remove what the move brought from {name}?',
  confirmGoes: 'The disk {id} and whatever was written to it',
  confirmDrive: 'The CD drive {id}',
  confirmStays: 'All disks of the guest, and the driver CD in the library',
  confirm: 'Remove',
  checked: {
    'to-virtio': 'The guest was started since, and the virtio disk {id} was seen in it',
    'to-emulated': 'The guest’s start-up files hold a driver for {target} disks',
  },
  checkedHint:
    'Linux: “lsinitramfs /boot/initrd.img” or “lsinitrd” lists ahci (ata_piix for IDE, nvme for NVMe), unless the kernel has it built in. Windows and BSD have these drivers.',
  target: {
    sata: 'SATA',
    ide: 'IDE',
    nvme: 'NVMe',
    usb: 'USB',
    std: 'the standard VGA card',
  },
  step: {
    drivers: {
      title: 'Insert the CD with the virtio drivers',
      what: 'Windows has no virtio drivers of its own. Install them all from the CD with virtio-win-guest-tools.exe (or virtio-win-gt-x64.msi).',
      check: 'Settings, Apps lists “Virtio-win-guest-tools”. Restart Windows once.',
    },
    probe: {
      title: 'Add a small disk on {target}',
      what: 'An empty disk of 1 GiB, {devices}, on the controller the boot disk will move to. The guest sees it, loads the driver, and from then on loads it early enough to boot from. It is removed in the last step.',
      check: {
        windows:
          'Device Manager, “Storage controllers” lists “Red Hat VirtIO SCSI controller” without a warning sign, and Disk Management shows a disk of 1 GiB. Leave it empty.',
        linux:
          '“lsblk” shows a disk of 1 GiB and “lsmod” lists virtio_blk or virtio_scsi, unless they are built into the kernel. Where start-up files are made for this hardware alone, add the driver: “update-initramfs -u” on Debian and Ubuntu, “dracut --force --add-drivers virtio_blk --add-drivers virtio_scsi” on Fedora and RHEL. Look in /etc/fstab: file systems named by UUID or LABEL are found again, /dev/sda1 is not.',
        bsd: '“geom disk list” or “sysctl hw.disknames” names a new disk of 1 GiB: vtbd0 or da0 on FreeBSD, sd1 on OpenBSD. Look in /etc/fstab: labels and DUIDs are found again, /dev/ada0p2 is not.',
        other: 'The guest shows a new disk of 1 GiB. If it does not, it has no driver: stop here.',
      },
    },
    networks: {
      title: '{devices} to {target}',
      what: 'The address (MAC) and the socket stay. The guest still takes it for another card: settings bound to the old one, such as a fixed IP address, are to be made again.',
      check: {
        windows:
          'Device Manager, “Network adapters” lists “Red Hat VirtIO Ethernet Adapter” (or “Intel 82574L” on the way back), and “ipconfig” an address.',
        linux:
          '“ip -br address” shows a card with an address, and “readlink /sys/class/net/*/device/driver” ends in virtio_net (or e1000e, e1000). Its name may have changed: correct it in the network settings.',
        bsd: '“ifconfig” shows vtnet0 or vio0 (em0 on the way back). Its name has changed: rename ifconfig_… in /etc/rc.conf, or /etc/hostname.… on OpenBSD.',
        other: 'The guest reaches the network.',
      },
    },
    display: {
      title: 'Screen to {target}',
      what: 'virtio-vga is a plain VGA card until its driver is loaded, and the standard card works everywhere: the screen stays usable on both ways.',
      check: {
        windows:
          'Device Manager, “Display adapters” lists “Red Hat VirtIO GPU DOD controller”, or “Microsoft Basic Display Adapter” without the driver.',
        linux: '“readlink /sys/class/drm/card*/device/driver” ends in virtio-pci (or bochs-drm).',
        bsd: 'The console appears; X starts with the modesetting or scfb driver.',
        other: 'A picture appears.',
      },
    },
    'data-disks': {
      title: '{devices} to {target}',
      what: 'Disks that the guest does not boot from. What is on them stays as it is.',
      check: {
        windows: 'Disk Management shows them. Where one is “offline”, bring it online with the right mouse button.',
        linux: '“lsblk -f” shows the file systems, “findmnt” that they are mounted.',
        bsd: '“mount” lists the file systems.',
        other: 'The guest shows what is on them.',
      },
    },
    'boot-disk': {
      title: 'Boot disk {devices} to {target}',
      what: 'The last thing to move on the way to virtio, the first on the way back. What is on it stays as it is; if the guest does not start from it, the other direction takes it back.',
      check: {
        windows:
          'Windows starts. If it stops with INACCESSIBLE_BOOT_DEVICE, it did not load the driver: power it off and take the boot disk back with the other direction.',
        linux:
          'The system starts, and “findmnt /” names the new disk, for example /dev/vda1 (/dev/sda1 on the way back). If it waits for its root file system, power it off and go back.',
        bsd: 'The system starts, and “mount” names the new disk. If it asks for the root file system, power it off and go back.',
        other: 'The guest starts. If it does not, power it off and go back.',
      },
    },
    cleanup: {
      title: 'Remove {devices}',
      what: 'What the move brought: the small disk and, if there was one, the driver CD.',
      check: 'The guest goes on as before.',
    },
  },
})
