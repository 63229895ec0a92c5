/**
 * Bootable things that packages of the distribution ship. Adding one copies it into the library like an upload, so
 * that a package upgrade never changes a medium under a VM.
 *
 * Paths as in Debian 12: memtest86+ 6.10, ipxe, grub-rescue-pc 2.06; other distributions keep some of them elsewhere.
 */
import { stat } from 'node:fs/promises'
import type { Starter } from '#lib/schema/image.ts'

export interface StarterFile {
  readonly id: Starter['id']
  readonly name: string
  readonly fileName: string
  readonly purpose: string
  readonly package: string
  /** First that exists wins. */
  readonly candidates: readonly string[]
}

export const STARTERS: readonly StarterFile[] = [
  {
    id: 'memtest86plus',
    name: 'Memtest86+',
    fileName: 'memtest86plus.iso',
    purpose: 'Tests the guest’s memory. Small, draws at once: good for a first try.',
    package: 'memtest86+',
    candidates: [
      '/usr/lib/memtest86+/memtest86+x64.iso',
      '/usr/lib/memtest86+/memtest86+.iso',
      '/boot/memtest86+/memtest.iso',
    ],
  },
  {
    id: 'ipxe',
    name: 'iPXE',
    fileName: 'ipxe.iso',
    purpose: 'Boots over the network: installers by HTTP, TFTP or iSCSI.',
    package: 'ipxe',
    candidates: ['/usr/lib/ipxe/ipxe.iso', '/usr/share/ipxe/ipxe.iso', '/usr/share/ipxe/x86_64/ipxe.iso'],
  },
  {
    id: 'grub-rescue',
    name: 'GRUB rescue',
    fileName: 'grub-rescue.iso',
    purpose: 'A boot loader with a shell: looks at disks and starts systems that no longer boot.',
    package: 'grub-rescue-pc',
    candidates: ['/usr/lib/grub-rescue/grub-rescue-cdrom.iso'],
  },
]

export interface FoundStarter {
  readonly path: string
  readonly sizeBytes: number
}

/** The file of an installed starter; null when its package is not installed. */
export async function findStarter(starter: StarterFile): Promise<FoundStarter | null> {
  for (const path of starter.candidates) {
    const facts = await stat(path).catch(() => null)
    if (facts?.isFile()) return { path, sizeBytes: facts.size }
  }
  return null
}
