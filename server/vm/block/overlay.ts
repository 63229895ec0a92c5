/** The node of an overlay that a running guest is to write to from some moment on. */
import type { Drive } from '#lib/schema/vm-spec.ts'
import { CACHE_MODES } from '#server/spec/devices/block-nodes.ts'

type Disk = Extract<Drive, { device: 'disk' }>

/** A node over nothing yet, opened as the disk's present top is; the switch puts it on top of that. */
export function overlayArguments(disk: Disk, node: string, path: string) {
  const { direct, noFlush } = CACHE_MODES[disk.cache]
  const cache = direct || noFlush ? { cache: { direct, 'no-flush': noFlush } } : {}
  return {
    driver: 'qcow2',
    'node-name': node,
    backing: null,
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
