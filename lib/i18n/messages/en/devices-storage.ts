import { defineMessages } from '../../define.ts'

/** What drive choices mean. Families and choices as in `lib/devices/catalogue.ts`. */
export const devicesStorage = defineMessages('devicesStorage', {
  drive: {
    name: 'Drive',
    what: 'Something the guest keeps data on or reads media from.',
    choices: {
      disk: { name: 'Hard disk', what: 'Kept in a file of this VM.' },
      cdrom: { name: 'CD drive', what: 'Reads an ISO image of the library; the medium changes while the guest runs.' },
    },
  },
  diskBus: {
    name: 'Controller of a disk',
    what: 'What the guest finds the disk on.',
    choices: {
      'virtio-blk': {
        name: 'virtio-blk',
        what: 'Paravirtual, one PCI device for each disk.',
        needs: 'Linux and BSD have the driver; Windows gets viostor from the virtio CD.',
        cost: 'The least host CPU for each request.',
        why: 'The fastest, and known to every current Linux and BSD.',
      },
      'virtio-scsi': {
        name: 'virtio-scsi',
        what: 'Paravirtual, one controller for up to 255 disks.',
        needs: 'Linux and BSD have the driver; Windows gets vioscsi from the virtio CD.',
        cost: 'A little more for each request than virtio-blk; saves PCI sockets.',
        why: 'Many disks without using up sockets; SCSI commands pass.',
      },
      nvme: {
        name: 'NVMe',
        what: 'Emulates a modern solid-state disk with deep queues.',
        needs: 'Windows 8.1, Linux 3.3, FreeBSD 10 or later: no extra driver.',
        cost: 'More host CPU for each request than virtio; no internal snapshot of some versions.',
        why: 'Fast without any driver CD.',
      },
      sata: {
        name: 'SATA',
        what: 'Emulates the AHCI controller of the mainboard, six ports.',
        needs: 'Every system since 2007, no extra driver.',
        cost: 'Several exits to the host for each request: two to five times virtio’s CPU.',
        why: 'Every installer knows it.',
      },
      ide: {
        name: 'IDE',
        what: 'Emulates the PIIX disk controller of 1996, four ports.',
        needs: 'The i440FX mainboard.',
        cost: 'Slowest of all; every word of data is an exit.',
        why: 'For systems older than SATA only.',
      },
      usb: {
        name: 'USB',
        what: 'A USB stick.',
        needs: 'Any system with USB; can be pulled out at any time.',
        cost: 'Slow, and much host CPU.',
      },
    },
  },
  cdBus: {
    name: 'Controller of a CD drive',
    what: 'What the guest finds the CD drive on.',
    choices: {
      sata: {
        name: 'SATA',
        what: 'A drive at the AHCI controller.',
        needs: 'Every system since 2007.',
        cost: 'Only while it reads.',
        why: 'Every installer knows it.',
      },
      ide: {
        name: 'IDE',
        what: 'A drive at the PIIX controller.',
        needs: 'The i440FX mainboard.',
        cost: 'Only while it reads.',
      },
      'virtio-scsi': {
        name: 'virtio-scsi',
        what: 'A drive at the paravirtual SCSI controller.',
        needs: 'The virtio-scsi driver; installers of Windows do not have it.',
        cost: 'Less than SATA.',
      },
      usb: {
        name: 'USB',
        what: 'A USB CD drive; can be plugged while the guest runs.',
        needs: 'Any system with USB.',
        cost: 'Only while it reads.',
      },
    },
  },
  cache: {
    name: 'Cache',
    what: 'Whether writes may wait in the host’s memory.',
    choices: {
      writeback: {
        name: 'Write back',
        what: 'Uses the host’s memory; written to disk when the guest asks for it.',
        needs: 'A guest that flushes: all current ones.',
        cost: 'Host memory, given back when needed.',
        why: 'Fast and safe for guests that flush.',
      },
      none: {
        name: 'None (direct)',
        what: 'Passes the host’s memory by; the disk’s own cache stays.',
        needs: 'A file system with O_DIRECT.',
        cost: 'Reads are not shared between guests; needed for native AIO.',
        why: 'For guests with a cache of their own, such as databases.',
      },
      writethrough: {
        name: 'Write through',
        what: 'Every write reaches the disk before it counts as done.',
        cost: 'Slow writes; for guests that never flush.',
      },
      directsync: {
        name: 'Direct and synchronous',
        what: 'Passes the host’s memory by, and every write reaches the disk.',
        cost: 'The slowest.',
      },
      unsafe: {
        name: 'Unsafe',
        what: 'Ignores the guest’s flushes.',
        cost: 'The file system in it is lost when the host crashes: only for throw-away installations.',
      },
    },
  },
  aio: {
    name: 'How QEMU waits',
    what: 'The way QEMU hands requests to the host’s kernel.',
    choices: {
      threads: {
        name: 'Threads',
        what: 'A pool of threads; works everywhere.',
        cost: 'Some CPU for switching.',
        why: 'Works with every cache mode.',
      },
      native: {
        name: 'Linux AIO',
        what: 'Straight to the kernel.',
        needs: 'Cache none or directsync.',
        cost: 'Less CPU than threads.',
      },
      io_uring: {
        name: 'io_uring',
        what: 'Shared queues with the kernel.',
        needs: 'Linux 5.1 and a QEMU built with it.',
        cost: 'The least CPU.',
      },
    },
  },
  discard: {
    name: 'Freed blocks',
    what: 'What happens when the guest says that blocks are no longer needed (TRIM).',
    choices: {
      unmap: {
        name: 'Give back',
        what: 'The image file shrinks.',
        cost: 'A moment of work when it happens.',
        why: 'The file holds only what is used.',
      },
      ignore: { name: 'Keep', what: 'The image file only grows.' },
    },
  },
  detectZeroes: {
    name: 'Written zeroes',
    what: 'What happens when the guest writes nothing but zeroes.',
    choices: {
      off: { name: 'Write them', what: 'As any data.' },
      on: { name: 'Note them', what: 'Kept as “all zero”, without data.', cost: 'Every write is looked at.' },
      unmap: {
        name: 'Give back',
        what: 'Freed in the image file.',
        cost: 'Every write is looked at.',
        why: 'Wiping the disk in the guest shrinks the file.',
      },
    },
  },
  ioThread: {
    name: 'I/O thread',
    what: 'A thread of its own for this disk, so that others do not wait for it.',
    choices: {
      on: {
        name: 'Own thread',
        what: 'Requests are handled beside QEMU’s main loop.',
        needs: 'virtio-blk or virtio-scsi.',
        cost: 'One more thread on the host while it works.',
        why: 'For busy disks and several vCPUs.',
      },
    },
  },
  diskQueues: {
    name: 'Queues',
    what: 'Request queues the guest’s CPUs share. Empty: one for each CPU.',
  },
  diskSerial: {
    name: 'Serial number',
    what: 'What the guest reads as serial number; Linux names the disk by it under /dev/disk/by-id.',
  },
  readOnly: {
    name: 'Read only',
    what: 'The guest cannot write.',
    choices: { on: { name: 'Read only', what: 'Writes are refused.', needs: 'virtio, SCSI, NVMe or USB.' } },
  },
  shared: {
    name: 'Shared',
    what: 'Several of your VMs write to one disk: those with the same serial number. It starts empty.',
    choices: {
      on: {
        name: 'Shared between VMs',
        what: 'A raw file that every VM with this disk may write to at the same time.',
        needs: 'A cluster file system in all guests.',
        cost: 'Any other file system is destroyed by it.',
      },
    },
  },
  throttle: {
    name: 'Limits',
    what: 'Bytes and operations a second, with bursts. Changes take effect at once.',
  },
  werror: {
    name: 'When writing fails',
    what: 'What QEMU does when the host cannot write, for example because the disk is full.',
    choices: {
      stop: { name: 'Pause the guest', what: 'It goes on where it was once there is room.', why: 'Nothing is lost.' },
      report: { name: 'Tell the guest', what: 'As a broken disk would; most systems then go read-only.' },
      enospc: { name: 'Pause when full', what: 'Other failures are told to the guest.' },
      ignore: { name: 'Ignore', what: 'Data is lost without notice.' },
    },
  },
})
