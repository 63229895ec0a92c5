/** The node of a file that a running guest is to write to from some moment on. */
import type { Drive } from '#lib/schema/vm-spec.ts'
import { CACHE_MODES } from '#server/spec/devices/block-nodes.ts'

type Disk = Extract<Drive, { device: 'disk' }>

/** A node over nothing (yet: a switch puts it on top of the present one), opened as the disk's present top is. */
export function overlayArguments(disk: Disk, node: string, path: string, format: 'qcow2' | 'raw' = 'qcow2') {
  const { direct, noFlush } = CACHE_MODES[disk.cache]
  const cache = direct || noFlush ? { cache: { direct, 'no-flush': noFlush } } : {}
  return {
    driver: format,
    'node-name': node,
    ...(format === 'qcow2' && { backing: null }),
    discard: disk.discard,
    'detect-zeroes': disk.detectZeroes,
    ...cache,
    file: {
      driver: 'file',
      'node-name': `${node}f`,
      filename: path,
      locking: 'on',
      discard: disk.discard,
      ...(disk.aio === 'threads' ? {} : { aio: disk.aio }),
      ...cache,
    },
  }
}
