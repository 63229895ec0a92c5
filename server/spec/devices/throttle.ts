/**
 * Limits of a disk: an object that holds them and a filter node above the disk's own.
 *
 * QEMU: docs/throttle.txt, block/throttle.c, qapi/block-core.json (ThrottleLimits). The filter is there only when the
 * definition has limits, so that a disk without costs nothing and its command line stays what it was. The guest does
 * not see it. On a running guest the limits of the filter change by `qom-set` on the object; a disk that was started
 * without gets its first ones by `block_set_io_throttle` with the device's QOM path, and the filter at its next start.
 */
import type { Drive, Throttle } from '#lib/schema/vm-spec.ts'
import { formatNode, throttleGroupId, throttleNode } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { PlannedOption } from '../types.ts'

type Disk = Extract<Drive, { device: 'disk' }>

/** QEMU refuses larger numbers (include/qemu/throttle.h, THROTTLE_VALUE_MAX). */
export const THROTTLE_MAX = 1_000_000_000_000_000

/**
 * QEMU's ThrottleLimits, complete, so that setting them also takes away what was there. A burst goes with the limits it
 * exceeds: the total one, or those of reading and writing.
 */
export function throttleLimits(throttle: Throttle): Record<string, number> {
  const limits: Record<string, number> = {}
  const add = (unit: 'bps' | 'iops', kind: 'total' | 'read' | 'write', average: number, max: number) => {
    const burst = average > 0 ? max : 0
    limits[`${unit}-${kind}`] = average
    limits[`${unit}-${kind}-max`] = burst
    limits[`${unit}-${kind}-max-length`] = burst > 0 ? throttle.burstSeconds : 1
  }
  add('bps', 'total', throttle.bytesPerSecond, throttle.bytesPerSecondMax)
  add('bps', 'read', throttle.readBytesPerSecond, throttle.bytesPerSecondMax)
  add('bps', 'write', throttle.writeBytesPerSecond, throttle.bytesPerSecondMax)
  add('iops', 'total', throttle.iops, throttle.iopsMax)
  add('iops', 'read', throttle.readIops, throttle.iopsMax)
  add('iops', 'write', throttle.writeIops, throttle.iopsMax)
  return limits
}

/** Node the device reads: the filter when there are limits. */
export const topNode = (disk: Disk): string => (disk.throttle === null ? formatNode(disk.id, 0) : throttleNode(disk.id))

/** Object and filter; the node below must come before. */
export function throttleOptions(disk: Disk, pointer: string): PlannedOption[] {
  if (disk.throttle === null) return []
  const about = { group: disk.id, origin: 'choice', field: `${pointer}/throttle` } as const
  return [
    jsonOption(
      '-object',
      { 'qom-type': 'throttle-group', id: throttleGroupId(disk.id), limits: throttleLimits(disk.throttle) },
      {
        ...about,
        what: `The limits of ${disk.id}: ${inWords(disk.throttle)}.`,
        why: 'As an object of its own they can be changed while the guest runs.',
      },
    ),
    jsonOption(
      '-blockdev',
      {
        driver: 'throttle',
        'node-name': throttleNode(disk.id),
        'throttle-group': throttleGroupId(disk.id),
        'read-only': disk.readOnly,
        file: formatNode(disk.id, 0),
      },
      {
        ...about,
        what: `Holds ${disk.id} to these limits.`,
        why: 'A filter between disk and file makes requests wait; the guest sees a slower disk, nothing else.',
      },
    ),
  ]
}

function inWords(throttle: Throttle): string {
  const bursts = throttle.bytesPerSecondMax > 0 || throttle.iopsMax > 0
  const parts = [
    [throttle.bytesPerSecond, 'bytes a second'],
    [throttle.readBytesPerSecond, 'bytes read a second'],
    [throttle.writeBytesPerSecond, 'bytes written a second'],
    [throttle.iops, 'requests a second'],
    [throttle.readIops, 'reads a second'],
    [throttle.writeIops, 'writes a second'],
  ] as const
  const set = parts.filter(([value]) => value > 0).map(([value, unit]) => `${value} ${unit}`)
  const burst = [
    [throttle.bytesPerSecondMax, 'bytes a second'],
    [throttle.iopsMax, 'requests a second'],
  ] as const
  const up = burst.filter(([value]) => value > 0).map(([value, unit]) => `${value} ${unit}`)
  if (set.length === 0) return 'none'
  return `${set.join(', ')}${bursts ? `; bursts of ${throttle.burstSeconds} s up to ${up.join(' and ')}` : ''}`
}
