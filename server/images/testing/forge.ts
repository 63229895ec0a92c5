/** For tests: small disks. */
import { execFileSync } from 'node:child_process'

export const qemuImg = (...args: string[]) => execFileSync('qemu-img', args, { stdio: ['ignore', 'pipe', 'pipe'] })

/** Zeros with a boot signature. */
export function rawDisk(sizeBytes: number): Buffer {
  const image = Buffer.alloc(sizeBytes)
  image[510] = 0x55
  image[511] = 0xaa
  return image
}
