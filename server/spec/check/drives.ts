/**
 * Rules of disks and CD drives. That no image is written by two guests (one image twice, or in two VMs) needs none: a
 * disk made from an image writes to a file of its own VM, and the image below is opened read-only. Only shared disks are
 * written by several guests, which is what they are for; no VM has one twice, as no two disks have one serial number.
 */
import type { Drive, Throttle, VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf, virtioDriver } from '../bus.ts'
import { usesSocket } from '../carry-over.ts'
import { serialOf } from '../devices/disks.ts'
import { THROTTLE_MAX } from '../devices/throttle.ts'
import { IDE_PORTS, SATA_PORTS } from '../ids.ts'
import { bad, claims, missingTypes, type NeededType, type SpecProblem } from './problem.ts'

type Disk = Extract<Drive, { device: 'disk' }>
type Bus = Drive['bus']

export function checkDrives(spec: VmSpec): SpecProblem[] {
  const claimPort = claims<string>()
  const claimSerial = claims<string>()
  return spec.disks.flatMap((drive, index) => {
    const at = `disks.${index}`
    const problems = [...checkBus(drive, at, spec), ...checkPort(drive, at, claimPort)]
    if (drive.device === 'cdrom') {
      if (drive.image !== null && drive.seed !== null)
        problems.push(bad(`${at}.image`, `“${drive.id}” holds the seed; take that out first, or use another drive.`))
      return problems
    }
    problems.push(...checkPlace(drive, at), ...checkIo(drive, at, spec), ...checkThrottle(drive.throttle, at))
    const serial = serialOf(drive)
    if (serial !== null && claimSerial(serial, at) !== null)
      problems.push(bad(`${at}.serial`, `Two disks have the serial number ${serial}; the guest could mix them up.`))
    return problems
  })
}

/** Buses that a machine family lacks, and why. */
function checkBus(drive: Drive, at: string, spec: VmSpec): SpecProblem[] {
  const refuse = (reason: string) => [bad(`${at}.bus`, reason)]
  switch (familyOf(spec.machine)) {
    case 'q35':
      return drive.bus === 'ide'
        ? refuse('A q35 machine has no IDE; choose "sata", which such guests know too, or a pc machine.')
        : []
    case 'pc':
      return []
    case 'microvm':
      return drive.bus === 'virtio-blk' || drive.bus === 'virtio-scsi'
        ? []
        : refuse('A microvm has virtio devices only; choose "virtio-scsi" or, for a disk, "virtio-blk".')
  }
}

const PORTS: Readonly<Partial<Record<Bus, { readonly name: string; readonly count: number }>>> = {
  sata: { name: 'SATA port', count: SATA_PORTS },
  ide: { name: 'IDE port', count: IDE_PORTS },
  'virtio-scsi': { name: 'SCSI target', count: 256 },
}

/** USB ports are checked with those of all other devices, in `places.ts`. */
function checkPort(drive: Drive, at: string, claim: ReturnType<typeof claims<string>>): SpecProblem[] {
  const ports = PORTS[drive.bus]
  if (ports === undefined || drive.port === null) return []
  const { name, count } = ports
  if (drive.port >= count)
    return [bad(`${at}.port`, `There is no ${name} ${drive.port}; they are 0 to ${count - 1}. Leave it out.`)]
  return claim(`${drive.bus}:${drive.port}`, `${at}.port`) === null
    ? []
    : [bad(`${at}.port`, `${name} ${drive.port} already holds another drive; leave it out to get a free one.`)]
}

function checkPlace(disk: Disk, at: string): SpecProblem[] {
  if (usesSocket(disk.bus)) {
    if (disk.port !== null) return [bad(`${at}.port`, `A disk on ${disk.bus} has no port; leave it out.`)]
    return disk.rootPort === null ? [bad(`${at}.rootPort`, 'This disk needs a socket; leave it out to get one.')] : []
  }
  if (disk.rootPort !== null) return [bad(`${at}.rootPort`, `A disk on ${disk.bus} sits on no socket; leave it out.`)]
  return disk.port === null ? [bad(`${at}.port`, 'This disk needs a port; leave it out to get one.')] : []
}

function checkIo(disk: Disk, at: string, spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const isMicrovm = familyOf(spec.machine) === 'microvm'
  if (disk.aio === 'native' && disk.cache !== 'none' && disk.cache !== 'directsync')
    problems.push(
      bad(
        `${at}.aio`,
        'Native AIO needs a disk that bypasses the page cache; choose the cache "none" or "directsync".',
      ),
    )
  if (disk.detectZeroes === 'unmap' && disk.discard !== 'unmap')
    problems.push(
      bad(
        `${at}.detectZeroes`,
        'Zeroes can only be freed when discard is "unmap"; choose that, or "on" or "off" here.',
      ),
    )
  if (disk.ioThread && disk.bus !== 'virtio-blk' && disk.bus !== 'virtio-scsi')
    problems.push(bad(`${at}.ioThread`, `Only virtio disks can have an I/O thread; ${disk.bus} cannot.`))
  else if (disk.ioThread && isMicrovm)
    problems.push(bad(`${at}.ioThread`, 'A disk of a microvm cannot have an I/O thread under software emulation.'))
  if (disk.queues !== null && !usesSocket(disk.bus))
    problems.push(bad(`${at}.queues`, `Only virtio-blk and nvme disks have queues to count; ${disk.bus} has not.`))
  if (disk.readOnly && (disk.bus === 'sata' || disk.bus === 'ide'))
    problems.push(
      bad(`${at}.readOnly`, `A ${disk.bus.toUpperCase()} disk cannot be read-only; choose another bus or a CD drive.`),
    )
  if (disk.bus === 'nvme' && serialOf(disk) === null)
    problems.push(bad(`${at}.serial`, 'An NVMe disk needs a serial number, and its id is too long to be one.'))
  if (disk.bus === 'nvme' && disk.werror !== 'report')
    problems.push(
      bad(`${at}.werror`, 'An NVMe disk tells the guest of every error; QEMU cannot pause the guest. Choose "report".'),
    )
  if (disk.shared && disk.serial === null)
    problems.push(
      bad(`${at}.serial`, 'A shared disk needs a serial number: disks of your VMs with the same one are one disk.'),
    )
  if (disk.shared && disk.image !== null)
    problems.push(bad(`${at}.image`, 'A shared disk starts empty; take one that is not shared to start from an image.'))
  return problems
}

/** QEMU's own rules (util/throttle.c, throttle_is_valid), said in words at the field. */
function checkThrottle(throttle: Throttle | null, at: string): SpecProblem[] {
  if (throttle === null) return []
  const problems: SpecProblem[] = []
  const families = [
    ['bytesPerSecond', 'readBytesPerSecond', 'writeBytesPerSecond', 'bytesPerSecondMax'],
    ['iops', 'readIops', 'writeIops', 'iopsMax'],
  ] as const
  for (const [total, read, write, max] of families) {
    for (const name of [total, read, write, max])
      if (throttle[name] > THROTTLE_MAX) problems.push(bad(`${at}.throttle.${name}`, 'At most 10^15.'))
    if (throttle[total] > 0 && (throttle[read] > 0 || throttle[write] > 0))
      problems.push(
        bad(`${at}.throttle.${total}`, 'Limit either all requests together or reads and writes each, not both.'),
      )
    const highest = Math.max(throttle[total], throttle[read], throttle[write])
    if (throttle[max] === 0) continue
    if (highest === 0)
      problems.push(bad(`${at}.throttle.${max}`, 'A burst exceeds a limit, and there is none; set that first.'))
    else if (throttle[max] < highest)
      problems.push(bad(`${at}.throttle.${max}`, `A burst is more than the limit it exceeds, which is ${highest}.`))
    else if (throttle[max] > THROTTLE_MAX / throttle.burstSeconds)
      problems.push(bad(`${at}.throttle.burstSeconds`, 'So long a burst of so much exceeds what QEMU counts; less.'))
  }
  return problems
}

const DISK_DRIVERS: Readonly<Record<Disk['bus'], string>> = {
  'virtio-blk': 'virtio-blk',
  'virtio-scsi': 'scsi-hd',
  nvme: 'nvme',
  sata: 'ide-hd',
  ide: 'ide-hd',
  usb: 'usb-storage',
}

/** Device types of QEMU that the drives and their controllers need. */
function neededTypes(spec: VmSpec): NeededType[] {
  return spec.disks.flatMap((drive, n): NeededType[] => {
    const field = `disks.${n}.bus`
    const needed: NeededType[] = []
    if (drive.bus === 'virtio-scsi') needed.push([virtioDriver(spec, 'virtio-scsi'), field])
    if (drive.bus === 'sata' && familyOf(spec.machine) === 'pc') needed.push(['ich9-ahci', field])
    if (drive.device === 'cdrom') {
      if (drive.bus === 'usb') needed.push(['usb-bot', field])
      needed.push([drive.bus === 'sata' || drive.bus === 'ide' ? 'ide-cd' : 'scsi-cd', field])
    } else {
      const driver = DISK_DRIVERS[drive.bus]
      needed.push([drive.bus === 'virtio-blk' ? virtioDriver(spec, driver) : driver, field])
    }
    return needed
  })
}

export function checkDriveCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const problems = missingTypes(neededTypes(spec), capabilities)
  spec.disks.forEach((drive, n) => {
    if (drive.device !== 'disk') return
    const lacks = (field: string, what: string) =>
      problems.push(bad(`disks.${n}.${field}`, `QEMU ${capabilities.version} on this host was built without ${what}.`))
    if (drive.aio === 'io_uring' && !capabilities.features.ioUring) lacks('aio', 'io_uring; choose "threads"')
    if (drive.throttle !== null && !capabilities.features.throttleFilter) lacks('throttle', 'the throttle filter')
  })
  return problems
}
