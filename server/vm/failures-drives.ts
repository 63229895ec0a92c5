/**
 * QEMU's refusals about how it was to reach files and networks of the host. Texts of QEMU 7.2 to 11.1 (util/osdep.c,
 * block/io_uring.c, hw/pci/pci.c, net/tap-linux.c).
 */
import type { VmExit } from '#lib/schema/vm-state.ts'

interface DriveRule {
  readonly pattern: RegExp
  explain(match: RegExpExecArray, name: (path: string) => string): Pick<VmExit, 'code' | 'summary' | 'advice'>
}

export const DRIVE_RULES: readonly DriveRule[] = [
  {
    pattern: /Could not \w+ '(?<path>[^'\n]+)': filesystem does not support O_DIRECT/,
    explain: (match, name) => ({
      code: 'host-resource',
      summary: `The file system of ${name(match.groups?.path ?? '')} cannot bypass the host's page cache.`,
      advice: 'Choose the cache “writeback” or “writethrough” for that disk, or move its file to another file system.',
    }),
  },
  {
    pattern: /Unable to use io_uring|failed to init linux io_uring ring/,
    explain: () => ({
      code: 'host-resource',
      summary: 'The host does not let QEMU use io_uring.',
      advice:
        'Choose the AIO “threads” for the disks that have it, or allow it on the host (kernel.io_uring_disabled = 0).',
    }),
  },
  {
    pattern: /failed to find romfile "(?<file>[^"\n]+)"/,
    explain: (match) => ({
      code: 'host-resource',
      summary: `The boot ROM of a network card (${match.groups?.file}) is not installed on the host.`,
      advice: 'Install the package ipxe-qemu, or take the boot position from the card.',
    }),
  },
  {
    pattern: /could not configure \/dev\/net\/tun \((?<tap>[^)\n]+)\): (?<why>[^\n]*)/,
    explain: (match) => ({
      code: 'host-resource',
      summary: `QEMU could not use the tap ${match.groups?.tap} of a network card on a bridge: ${match.groups?.why}.`,
      advice:
        'The dashboard makes it at the start. Start again; if it repeats, see whether something removes or keeps it.',
    }),
  },
  {
    pattern: /could not open \/dev\/net\/tun: (?<why>[^\n]*)/,
    explain: (match) => ({
      code: 'host-resource',
      summary: `QEMU may not open /dev/net/tun, which a network card on a bridge needs: ${match.groups?.why}.`,
      advice: 'Run: modprobe tun && chmod 0666 /dev/net/tun, which is what Linux distributions set.',
    }),
  },
]
