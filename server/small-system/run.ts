/** How a program of libguestfs's is run in the tool sandbox with the small system that was made beforehand. Pure. */
import type { ToolLimits } from '#server/storage/sandbox.ts'

export interface SmallSystemUse {
  /** Directory of the small system. */
  readonly appliance: string
  readonly kind: 'kvm' | 'tcg'
  readonly memoryMiB: number
  readonly lifeMs: number
}

export interface SmallSystemRun {
  readonly env: Readonly<Record<string, string>>
  readonly writable: readonly string[]
  readonly devices: readonly string[]
  readonly timeoutMs: number
  readonly maxFileBytes: number
  readonly limits: ToolLimits
}

/** What it writes for itself while it runs. */
const SCRATCH_BYTES = 2 * 2 ** 30

export function inSmallSystem({ appliance, kind, memoryMiB, lifeMs }: SmallSystemUse): SmallSystemRun {
  return {
    env: {
      LIBGUESTFS_BACKEND: 'direct',
      ...(kind === 'tcg' && { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' }),
      LIBGUESTFS_PATH: appliance,
      LIBGUESTFS_MEMSIZE: String(memoryMiB),
      LIBGUESTFS_CACHEDIR: '/tmp',
      LIBGUESTFS_TMPDIR: '/tmp',
      TMPDIR: '/tmp',
      HOME: '/tmp',
    },
    writable: [],
    devices: kind === 'kvm' ? ['/dev/kvm'] : [],
    timeoutMs: lifeMs,
    maxFileBytes: SCRATCH_BYTES,
    limits: { memoryBytes: 8 * 2 ** 30, openFiles: 1024, cpuSeconds: (4 * lifeMs) / 1000 },
  }
}
