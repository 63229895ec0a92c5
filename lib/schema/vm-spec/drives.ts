/** Hard disks and CD drives. */
import * as z from 'zod'
import { ImageId, PoolId, SeedId, VolumeId } from '../ids.ts'
import { BootIndex, DeviceId, RootPort } from './common.ts'

/** Limits in bytes and operations a second; 0 is no limit. `…Max` is what a burst may reach for `burstSeconds`. */
export const Throttle = z.strictObject({
  bytesPerSecond: z.int().min(0),
  readBytesPerSecond: z.int().min(0),
  writeBytesPerSecond: z.int().min(0),
  iops: z.int().min(0),
  readIops: z.int().min(0),
  writeIops: z.int().min(0),
  bytesPerSecondMax: z.int().min(0),
  iopsMax: z.int().min(0),
  burstSeconds: z.int().min(1).max(3600),
})
export type Throttle = z.output<typeof Throttle>

export const DiskBus = z.enum(['virtio-blk', 'virtio-scsi', 'nvme', 'sata', 'ide', 'usb'])
export type DiskBus = z.output<typeof DiskBus>
export const CdBus = z.enum(['sata', 'ide', 'virtio-scsi', 'usb'])
export type CdBus = z.output<typeof CdBus>

/** SATA or IDE port, SCSI target or USB port; pinned. Null on buses that use `rootPort`. */
const Port = z.int().min(0).max(255).nullable()

/** Hard disk. Blank when `image` is null; otherwise a copy-on-write overlay of that library image. */
export const DiskDevice = z.strictObject({
  id: DeviceId,
  device: z.literal('disk'),
  bus: DiskBus,
  /** Virtual size in GiB. With an image: at least the image's size. */
  sizeGiB: z.int().min(1).max(65_536),
  image: ImageId.nullable(),
  bootIndex: BootIndex,
  /** Of virtio-blk and nvme; null on other buses. */
  rootPort: RootPort.nullable(),
  port: Port,
  cache: z.enum(['writeback', 'none', 'writethrough', 'directsync', 'unsafe']),
  aio: z.enum(['threads', 'native', 'io_uring']),
  discard: z.enum(['unmap', 'ignore']),
  detectZeroes: z.enum(['off', 'on', 'unmap']),
  /** A thread of its own for this disk's I/O (virtio-blk; for virtio-scsi the controller's). */
  ioThread: z.boolean(),
  /** Request queues of virtio-blk and nvme; null: QEMU's choice. */
  queues: z.int().min(1).max(64).nullable(),
  /** What the guest sees as serial number; null: the device id where it fits. */
  serial: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,20}$/, 'letters, digits, . _ - (up to 20)')
    .nullable(),
  readOnly: z.boolean(),
  /**
   * Shared disks of one owner with the same `serial` are one raw disk that several VMs write to at once; only for
   * cluster file systems. Decided when the disk is made.
   */
  shared: z.boolean(),
  throttle: Throttle.nullable(),
  /** When the host cannot write: pause the guest, tell it, or (only when full) pause. */
  werror: z.enum(['stop', 'report', 'enospc', 'ignore']),
})

/** CD/DVD drive. An empty drive has neither image nor seed. */
export const CdromDevice = z.strictObject({
  id: DeviceId,
  device: z.literal('cdrom'),
  bus: CdBus,
  image: ImageId.nullable(),
  /** The VM's own seed CD instead of an image; given by `vmSeedReplace` alone, null takes it out and deletes it. */
  seed: SeedId.nullable(),
  bootIndex: BootIndex,
  port: z.int().min(0).max(255),
})

export const Drive = z.discriminatedUnion('device', [DiskDevice, CdromDevice]).meta({ id: 'Drive' })
export type Drive = z.output<typeof Drive>

export const DiskInput = z.strictObject({
  ...DiskDevice.partial().shape,
  device: z.literal('disk'),
  /** Where a new disk's file shall lie; left out: the default pool. Means nothing for a disk that exists. */
  pool: PoolId.optional(),
  /** A free volume that becomes this disk, with its size and content, instead of a new one. */
  volume: VolumeId.optional(),
})
export const CdromInput = z.strictObject({ ...CdromDevice.partial().shape, device: z.literal('cdrom') })
