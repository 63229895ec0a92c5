/** Storage pools and the volumes in them. */
import * as z from 'zod'
import { ImageId, Instant, LayerId, PoolId, ProjectId, UserId, VmId, VolumeId } from './ids.ts'

/** What a pool may be used for. */
export const PoolPurpose = z.enum(['disks', 'backups'])
export type PoolPurpose = z.output<typeof PoolPurpose>

/** A name for people: letters and digits of any script, spaces and a few marks. */
export const StorageName = z
  .string()
  .max(64, 'at most 64 characters')
  .regex(
    /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._()#@+-]*$/u,
    'starts with a letter or digit; then letters, digits, spaces and . _ ( ) # @ + - only',
  )
  .refine((s) => !s.endsWith(' '), 'must not end with a space')

/**
 * `unreachable`: it does not answer. `missing`: it is not mounted, or the mark that says it is ours is not there.
 * `low`: less than the reserve is free. `full`: guests that write will be paused.
 */
export const PoolState = z.enum(['ok', 'low', 'full', 'read-only', 'missing', 'unreachable', 'unknown'])
export type PoolState = z.output<typeof PoolState>

export const Pool = z
  .strictObject({
    id: PoolId,
    name: z.string(),
    kind: z.literal('dir'),
    /** The data directory of the dashboard; cannot be removed. */
    builtIn: z.boolean(),
    /** For administrators; null for others, and for the built-in pool. */
    path: z.string().nullable(),
    mustBeMounted: z.boolean(),
    purposes: z.array(PoolPurpose),
    /** New disks lie here unless another is chosen. */
    isDefault: z.boolean(),
    state: PoolState,
    /** What was seen, as a sentence. */
    evidence: z.string(),
    /** What to do; empty when nothing is wrong. */
    advice: z.string(),
    /** When it last answered; null: not yet. */
    checkedAt: Instant.nullable(),
    /** Of its file system when it last answered; null: not yet. */
    capacity: z
      .strictObject({
        totalBytes: z.number(),
        freeBytes: z.number(),
        /** Kept free: never given out. */
        reserveBytes: z.number(),
        /** Promised to work under way. */
        reservedBytes: z.number(),
        /** What new work may take. */
        usableBytes: z.number(),
        fileSystem: z.string(),
      })
      .nullable(),
    /** Set by an administrator; null: 5 % of the file system, at least 5 GiB. */
    reserveBytes: z.number().nullable(),
    volumes: z.strictObject({
      count: z.int(),
      /** On disk now. */
      allocatedBytes: z.number(),
      /** What guests see. */
      virtualBytes: z.number(),
      /** What the files that are written may still take. */
      growthBytes: z.number(),
      /** What all files take once every volume has been written to its end. */
      worstCaseBytes: z.number(),
      trashedBytes: z.number(),
    }),
    /** Who has how much of what the caller may see, largest first. */
    people: z.array(
      z.strictObject({
        owner: z.strictObject({ id: UserId, name: z.string() }),
        count: z.int(),
        allocatedBytes: z.number(),
        virtualBytes: z.number(),
        worstCaseBytes: z.number(),
      }),
    ),
    createdAt: Instant,
  })
  .meta({ id: 'Pool' })
export type Pool = z.output<typeof Pool>

const ReserveBytes = z
  .int()
  .min(0)
  .max(2 ** 50)

export const PoolInput = z.strictObject({
  name: StorageName,
  /** Absolute; an existing directory below one the host's administrator allowed (`GUESTDECK_POOL_DIRS`). */
  path: z.string().regex(/^\/[^\0-\x1f]{0,1023}$/, 'an absolute path'),
  mustBeMounted: z.boolean().default(false),
  reserveBytes: ReserveBytes.nullable().default(null),
  purposes: z.array(PoolPurpose).min(1).default(['disks', 'backups']),
})
export type PoolInput = z.output<typeof PoolInput>

export const PoolPatch = z.strictObject({
  name: StorageName.optional(),
  mustBeMounted: z.boolean().optional(),
  reserveBytes: ReserveBytes.nullable().optional(),
  purposes: z.array(PoolPurpose).min(1).optional(),
  isDefault: z.literal(true).optional(),
})
export type PoolPatch = z.output<typeof PoolPatch>

export const VolumeFormat = z.enum(['qcow2', 'raw'])
export type VolumeFormat = z.output<typeof VolumeFormat>

/** One file of a volume's chain, top first. */
export const VolumeLayer = z.strictObject({
  id: LayerId.nullable(),
  /** Set for a library image at the bottom. */
  image: z.strictObject({ id: ImageId, name: z.string() }).nullable(),
  format: z.string(),
  poolId: PoolId.nullable(),
  sizeBytes: z.number(),
  /** Null: not known, or the file is not there. */
  allocatedBytes: z.number().nullable(),
  writable: z.boolean(),
  present: z.boolean(),
  /** What needs it besides the layer above, as words. */
  neededBy: z.array(z.string()),
})

export const Volume = z
  .strictObject({
    id: VolumeId,
    name: z.string(),
    owner: z.strictObject({ id: UserId, name: z.string() }),
    pool: z.strictObject({ id: PoolId, name: z.string() }),
    format: VolumeFormat,
    /** What the guest sees. */
    sizeBytes: z.number(),
    /** Of the files that only this volume has; null: not known yet. */
    allocatedBytes: z.number().nullable(),
    /** What its files take once the guest has written everything. */
    worstCaseBytes: z.number(),
    /** Who holds it; null: free. */
    vm: z.strictObject({ id: VmId, name: z.string(), device: z.string(), running: z.boolean() }).nullable(),
    layers: z.int(),
    /** Images it stands on. */
    images: z.array(z.strictObject({ id: ImageId, name: z.string() })),
    /** Why it cannot be used now; null when it can. */
    problem: z.string().nullable(),
    trashedAt: Instant.nullable(),
    /** When it goes for good; null unless it is in the trash. */
    goesAt: Instant.nullable(),
    /** VM it was a disk of when it was put in the trash. */
    trashedFrom: z.string().nullable(),
    createdAt: Instant,
    /** Whose it is, itself or by its VM. Absent where it is its owner's alone. */
    project: z.strictObject({ id: ProjectId, name: z.string() }).optional(),
  })
  .meta({ id: 'Volume' })
export type Volume = z.output<typeof Volume>

export const VolumeDetail = z.strictObject({ volume: Volume, chain: z.array(VolumeLayer) }).meta({ id: 'VolumeDetail' })
export type VolumeDetail = z.output<typeof VolumeDetail>

const SizeGiB = z.int().min(1).max(65_536)

export const VolumeInput = z.strictObject({
  name: StorageName,
  sizeGiB: SizeGiB,
  format: VolumeFormat.default('qcow2'),
  /** Left out: the default pool. */
  poolId: PoolId.optional(),
})
export type VolumeInput = z.output<typeof VolumeInput>

export const VolumeCopy = z.strictObject({
  name: StorageName,
  poolId: PoolId.optional(),
  format: VolumeFormat.optional(),
})
export type VolumeCopy = z.output<typeof VolumeCopy>

export const VolumeMove = z.strictObject({
  poolId: PoolId,
  /** Leaves the rest of what the storage can do to guests; null: as fast as it goes. */
  limitMiBps: z.int().min(1).max(100_000).nullable().default(null),
})
export type VolumeMove = z.output<typeof VolumeMove>

export const VolumeGrow = z.strictObject({ sizeGiB: SizeGiB })
export const VolumeAttach = z.strictObject({ vmId: VmId })

/** What waits for a person, found by looking at pools and volumes. */
export const StorageNeed = z
  .strictObject({
    id: z.string(),
    kind: z.enum(['pool', 'volume', 'room', 'paused']),
    title: z.string(),
    detail: z.string(),
    poolId: PoolId.nullable(),
    vmId: VmId.nullable(),
  })
  .meta({ id: 'StorageNeed' })
export type StorageNeed = z.output<typeof StorageNeed>
