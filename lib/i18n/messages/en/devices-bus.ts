import { defineMessages } from '../../define.ts'

/** What the choices of everything else on the bus mean. Families and choices as in `lib/devices/catalogue.ts`. */
export const devicesBus = defineMessages('devicesBus', {
  serial: {
    name: 'Serial console',
    what: 'A text console that works before any driver does.',
    choices: {
      on: {
        name: 'Serial console',
        what: 'Shown under Console, recorded.',
        needs: 'Nothing.',
        cost: 'None.',
        why: 'The way in when nothing else works.',
      },
    },
  },
  serialDevice: {
    name: 'What carries the serial console',
    what: 'The device behind it.',
    choices: {
      'isa-serial': {
        name: 'COM1',
        what: 'The 16550 of every PC, from the first boot message on.',
        needs: 'Nothing.',
        cost: 'An exit for each character.',
        why: 'Works in firmware, boot loader and every system.',
      },
      'pci-serial': {
        name: 'PCI card',
        what: 'A 16550 on a PCI card.',
        needs: 'A driver; Windows needs a description file.',
        cost: 'An exit for each character.',
      },
      virtconsole: {
        name: 'virtio console (hvc0)',
        what: 'Paravirtual: whole lines at once.',
        needs: 'Linux with console=hvc0; silent during boot.',
        cost: 'The least.',
      },
    },
  },
  channelDevice: {
    name: 'Channel',
    what: 'A further line between guest and host, for agents and logs.',
    choices: {
      virtserialport: {
        name: 'virtio port',
        what: 'Found by name under /dev/virtio-ports.',
        needs: 'Linux and BSD have the driver; Windows gets vioserial from the virtio CD.',
        cost: 'None while silent; can be added while the guest runs.',
        why: 'Has a name, and is fast.',
      },
      virtconsole: {
        name: 'virtio console',
        what: 'A terminal, hvc1 and up.',
        needs: 'Linux.',
        cost: 'None while silent.',
      },
      'isa-serial': {
        name: 'COM port',
        what: 'COM2 to COM4.',
        needs: 'Nothing.',
        cost: 'An exit for each character; only at a start.',
      },
    },
  },
  channelBackend: {
    name: 'Other end on the host',
    what: 'Where the channel leads to.',
    choices: {
      socket: {
        name: 'Socket',
        what: 'A unix socket in the VM’s run directory.',
        why: 'Programs of the host speak to the guest.',
      },
      log: { name: 'Log', what: 'Only recorded there.' },
    },
  },
  agentChannel: {
    name: 'Guest agent',
    what: 'A channel for qemu-guest-agent in the guest.',
    choices: {
      on: {
        name: 'Guest-agent channel',
        what: 'Clean shutdown, addresses, frozen file systems for snapshots.',
        needs: 'qemu-guest-agent in the guest; until then it does nothing.',
        cost: 'None.',
        why: 'Costs nothing and helps much.',
      },
    },
  },
  vsock: {
    name: 'vsock',
    what: 'Sockets between host and guest without a network.',
    choices: {
      on: {
        name: 'vhost-vsock',
        what: 'The guest has an address of its own on the host.',
        needs: '/dev/vhost-vsock on the host; Linux in the guest.',
        cost: 'None while silent.',
      },
    },
  },
  rng: {
    name: 'Random numbers',
    what: 'Fresh guests have few of their own: keys would be weak, or booting would wait.',
    choices: {
      on: {
        name: 'virtio-rng',
        what: 'Takes them from the host.',
        needs: 'Linux and BSD have the driver; Windows gets viorng from the virtio CD.',
        cost: 'None.',
        why: 'Every guest that makes keys should have it.',
      },
    },
  },
  shareDriver: {
    name: 'Shared directory',
    what: 'A directory of the host that the guest mounts.',
    choices: {
      virtiofs: {
        name: 'virtiofs',
        what: 'A file system for virtual machines, with a helper process.',
        needs: 'Linux 5.4, or Windows with WinFsp and the virtio CD; virtiofsd on the host.',
        cost: 'Near a local disk; the guest’s memory is shared with the helper.',
        why: 'Fast, and behaves like a local file system.',
      },
      '9p': {
        name: '9p',
        what: 'An older network file system inside QEMU.',
        needs: 'Linux with 9p; not Windows.',
        cost: 'Slow for many small files; only at a start.',
      },
    },
  },
  hostDevice: {
    name: 'Device of the host',
    what: 'Handed to the guest; the host no longer has it meanwhile. Administrators only.',
    choices: {
      'usb-id': {
        name: 'USB, by vendor and product',
        what: 'Whichever port it is plugged into.',
        needs: 'A USB controller in the guest, and the guest’s own driver.',
        cost: 'Every transfer passes through QEMU.',
        why: 'For a stick or a licence key that moves between ports.',
      },
      'usb-port': {
        name: 'USB, by port',
        what: 'Whatever is plugged into this port.',
        needs: 'A USB controller in the guest.',
        cost: 'Every transfer passes through QEMU.',
      },
      pci: {
        name: 'PCI device',
        what: 'A graphics card, network card or disk controller, whole.',
        needs: 'An IOMMU, and its whole group on vfio-pci.',
        cost: 'None for each request; all of the guest’s memory is pinned, no saving or moving.',
        why: 'The speed of the hardware itself.',
      },
      mdev: {
        name: 'Mediated device',
        what: 'A slice of a graphics card that the host divides.',
        needs: 'A driver of the host that divides it.',
        cost: 'As a PCI device, shared with others.',
      },
    },
  },
  properties: {
    name: 'Properties',
    what: 'Everything else QEMU lets one set on a device, as the installed QEMU lists it.',
  },
  rawArgs: {
    name: 'Raw options',
    what: 'Appended to the command line as they are. Administrators only, when the host allows it.',
  },
})
