/** Where the C virtiofsd keeps its locks whatever it is told (QEMU 7.2: tools/virtiofsd/fuse_virtio.c). Pure. */
import { dirname, join } from 'node:path'

export const VIRTIOFSD_LOCKS = '/run/virtiofsd'

/** Name of the lock file that it leaves behind for a socket. */
export const virtiofsdLock = (socket: string): string =>
  join(VIRTIOFSD_LOCKS, `${dirname(socket).replaceAll('/', '.')}.${socket.slice(dirname(socket).length + 1)}.pid`)
