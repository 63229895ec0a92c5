/**
 * Hard disks.
 *
 * QEMU: hw/block/virtio-blk.c, hw/scsi/scsi-disk.c, hw/nvme/ctrl.c, hw/ide/qdev.c, hw/usb/dev-storage-classic.c;
 * what each does not have is refused in `check/drives.ts`. The id of the device is the spec's, whatever the bus, so
 * that a disk that moves to another bus keeps its file, its name and its history.
 */
import type { Drive, VmSpec } from '#lib/schema/vm-spec.ts'
import { socketName, socketPlace, virtioDriver } from '../bus.ts'
import { ioThreadId, QEMU_IDS } from '../ids.ts'
import { type Json, jsonOption } from '../option.ts'
import type { PlannedOption, ResolvedDrive } from '../types.ts'
import { CACHE_MODES, diskNode } from './block-nodes.ts'
import { idePlace, sataPlace, scsiPlace } from './drive-controllers.ts'
import { throttleOptions, topNode } from './throttle.ts'

type Disk = Extract<Drive, { device: 'disk' }>
type Properties = Readonly<Record<string, Json>>

/** QEMU cuts virtio-blk serials at 20 bytes; a cut one could equal another, so longer ids go without. */
const SERIAL_MAX = 20

/** What the guest sees as the disk's serial number; null: none. */
export const serialOf = (disk: Disk): string | null => disk.serial ?? (disk.id.length <= SERIAL_MAX ? disk.id : null)

interface Bus {
  readonly driver: string
  readonly place: Properties
  /** Properties of this bus alone. */
  readonly extra: Properties
  /** `A virtio hard disk on PCIe port 0`. */
  readonly what: string
  readonly why: string
}

function busOf(disk: Disk, spec: VmSpec): Bus {
  const port = disk.port ?? 0
  const socket = disk.rootPort ?? 0
  switch (disk.bus) {
    case 'virtio-blk':
      return {
        driver: virtioDriver(spec, 'virtio-blk'),
        place: socketPlace(spec, socket),
        extra: {
          ...(disk.ioThread ? { iothread: ioThreadId(disk.id) } : {}),
          ...(disk.queues === null ? {} : { 'num-queues': disk.queues }),
        },
        what: `A virtio hard disk on ${socketName(spec, socket)}`,
        why: 'virtio is made for virtual machines: the least work per request. Linux and BSD have the driver; Windows needs the virtio-win driver while installing.',
      }
    case 'virtio-scsi':
      return {
        driver: 'scsi-hd',
        place: scsiPlace(port),
        extra: {},
        what: `A hard disk on the virtio SCSI controller, target ${port}`,
        why: 'Nearly as quick as a virtio disk, takes no PCIe port and looks like an ordinary disk (sda). Windows needs the virtio-win driver.',
      }
    case 'nvme':
      return {
        driver: 'nvme',
        place: socketPlace(spec, socket),
        extra: disk.queues === null ? {} : { max_ioqpairs: disk.queues },
        what: `An NVMe disk on ${socketName(spec, socket)}`,
        why: 'Emulates real hardware that every current system knows, Windows included, and is quicker than SATA. An error of the host is told to the guest.',
      }
    case 'sata':
      return {
        driver: 'ide-hd',
        place: sataPlace(spec, port),
        extra: {},
        what: `A SATA hard disk on port ${port}`,
        why: 'Emulates real hardware that every system of the last twenty years knows without extra drivers; slower than virtio.',
      }
    case 'ide':
      return {
        driver: 'ide-hd',
        place: idePlace(port),
        extra: {},
        what: `An IDE hard disk, ${port < 2 ? 'first' : 'second'} cable, ${port % 2 === 0 ? 'first' : 'second'} drive`,
        why: 'For the oldest systems. The slowest of all; it cannot be removed while the guest runs.',
      }
    case 'usb':
      return {
        driver: 'usb-storage',
        place: { bus: `${QEMU_IDS.usb}.0`, port: String(port) },
        extra: { removable: true },
        what: `A USB stick on port ${port}`,
        why: 'Every system knows it and takes it in while running; slow, so better for installing and carrying than for working.',
      }
  }
}

/** Options in the order QEMU needs them: file, limits, thread, device. */
export function diskOptions(disk: Disk, pointer: string, drive: ResolvedDrive, spec: VmSpec): PlannedOption[] {
  const layers = drive.chain.length
  const bus = busOf(disk, spec)
  const serial = serialOf(disk)
  const { writeCache } = CACHE_MODES[disk.cache]
  // Its errors always go to the guest: hw/nvme has no policy for them.
  const policy = disk.bus === 'nvme' ? {} : { werror: disk.werror, rerror: 'report' }
  return [
    jsonOption('-blockdev', diskNode(disk, drive), {
      group: disk.id,
      what: disk.shared ? sharedWords(disk) : fileWords(disk, layers),
      why: disk.shared
        ? 'Raw, because a qcow2 file can have one writer only; what a guest writes into it can not make QEMU open another file.'
        : 'Formats and layers are spelled out, so that nothing a guest writes into its disk can make QEMU open another file. The lock keeps two guests from writing to one disk.',
      origin: disk.image === null ? 'default' : 'choice',
      field: disk.image === null ? `${pointer}/sizeGiB` : `${pointer}/image`,
    }),
    ...throttleOptions(disk, pointer),
    ...(disk.bus === 'virtio-blk' && disk.ioThread
      ? [
          jsonOption(
            '-object',
            { 'qom-type': 'iothread', id: ioThreadId(disk.id) },
            {
              group: disk.id,
              what: `A thread for the requests of ${disk.id}.`,
              why: 'The disk then no longer waits for the rest of QEMU, nor it for the disk; worth it for busy disks on hosts with CPUs to spare.',
              origin: 'choice',
              field: `${pointer}/ioThread`,
            },
          ),
        ]
      : []),
    jsonOption(
      '-device',
      {
        driver: bus.driver,
        id: disk.id,
        ...bus.place,
        drive: topNode(disk),
        ...(serial === null ? {} : { serial }),
        ...(disk.bootIndex === null ? {} : { bootindex: disk.bootIndex }),
        ...policy,
        ...(writeCache ? {} : { 'write-cache': 'off' }),
        ...(disk.shared ? { 'share-rw': true } : {}),
        ...bus.extra,
      },
      {
        group: disk.id,
        what: `${bus.what}${disk.bootIndex === null ? '' : `, boot position ${disk.bootIndex}`}.${disk.bus === 'nvme' ? '' : WERROR[disk.werror]}`,
        why: bus.why,
        origin: 'choice',
        field: pointer,
      },
    ),
  ]
}

function fileWords(disk: Disk, layers: number): string {
  if (layers > 1)
    return `Opens the disk file: changes go to a qcow2 file of this VM, unchanged blocks are read from the image below it (${layers} layers, all named here).`
  const freed = disk.discard === 'unmap' ? 'Freed space goes back to the host' : 'Freed space stays taken on the host'
  return `Opens the disk file of this VM${disk.readOnly ? ', read-only' : ''}. ${freed}${ZEROES[disk.detectZeroes]}.${CACHE_WORDS[disk.cache]}`
}

const sharedWords = (disk: Disk): string =>
  `Opens the shared disk ${disk.serial}, which other VMs of the same owner may write to at the same time.${CACHE_WORDS[disk.cache]}`

const ZEROES: Readonly<Record<Disk['detectZeroes'], string>> = {
  off: '',
  on: '; written zeroes are noticed',
  unmap: '; written zeroes take none',
}

const CACHE_WORDS: Readonly<Record<Disk['cache'], string>> = {
  writeback: '',
  none: " The host's page cache is bypassed.",
  writethrough: ' Every write is on the host’s disk before the guest is told so.',
  directsync: " The host's page cache is bypassed, and every write is on the host's disk before the guest is told so.",
  unsafe: ' What the guest wants on disk at once is not: a crash of the host may ruin the disk.',
}

const WERROR: Readonly<Record<Disk['werror'], string>> = {
  stop: ' When the host cannot write (disk full), the guest is paused instead of losing data.',
  enospc: ' When the host is full the guest is paused; other write errors are told to the guest.',
  report: ' Write errors of the host are told to the guest.',
  ignore: ' Write errors of the host are ignored.',
}
