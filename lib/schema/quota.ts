/** Quotas, and who uses what. */
import * as z from 'zod'

/**
 * What is counted, each for itself. `running…` counts what is promised to guests that run; `uploads` what is on its way
 * into the library, downloads as well; `libraryMiB` what lies there together with what is on its way;
 * `backupGiB` what backups take, wherever they lie.
 */
export const QUOTA_ITEMS = [
  'vms',
  'vcpus',
  'runningVcpus',
  'memoryMiB',
  'runningMemoryMiB',
  'diskGiB',
  'snapshots',
  'uploads',
  'libraryMiB',
  'backupGiB',
  'ports',
  'consoles',
] as const
export type QuotaItem = (typeof QUOTA_ITEMS)[number]
/** What somebody does, whatever project it is for: never counted for a project. */
const OF_PEOPLE_ALONE: readonly QuotaItem[] = ['uploads', 'consoles']
export const PROJECT_QUOTA_ITEMS: readonly QuotaItem[] = QUOTA_ITEMS.filter((item) => !OF_PEOPLE_ALONE.includes(item))

const each = <T extends z.ZodType>(value: T) => ({
  vms: value,
  vcpus: value,
  runningVcpus: value,
  memoryMiB: value,
  runningMemoryMiB: value,
  diskGiB: value,
  snapshots: value,
  uploads: value,
  libraryMiB: value,
  backupGiB: value,
  ports: value,
  consoles: value,
})
const Limit = z
  .int()
  .min(0)
  .max(2 ** 31)
  .nullable()

/** Null: no limit. */
export const QuotaLimits = z.strictObject(each(Limit)).meta({ id: 'QuotaLimits' })
export type QuotaLimits = z.output<typeof QuotaLimits>
export const QuotaUse = z.strictObject(each(z.number())).meta({ id: 'QuotaUse' })
export type QuotaUse = z.output<typeof QuotaUse>

export const QuotaHolderType = z.enum(['person', 'project', 'default'])
/** Null takes the person's own quotas away, so that those of everybody count again. */
export const QuotaChange = z.strictObject({ limits: QuotaLimits.partial().nullable() })

export const UsageHolder = z
  .strictObject({
    type: z.enum(['person', 'project']),
    id: z.string(),
    name: z.string(),
    used: QuotaUse,
    limits: QuotaLimits,
    /** Whether the limits are their own, or those of everybody. */
    own: z.boolean(),
    /** What lies on disk. */
    allocatedBytes: z.number(),
    /** What this holder could give back, and how. */
    freeable: z.array(
      z.strictObject({
        how: z.enum([
          'shut-down',
          'empty-trash',
          'delete-free-disks',
          'delete-stopped-vms',
          /** Their bytes depend on what stands on them, and are not told. */
          'delete-snapshots',
          /** Images that no VM and no disk needs. */
          'delete-images',
          'delete-backups',
          'cancel-uploads',
          'close-consoles',
        ]),
        /** How many VMs, disks, snapshots and so on that is. */
        count: z.int(),
        memoryMiB: z.number(),
        vcpus: z.number(),
        bytes: z.number(),
      }),
    ),
  })
  .meta({ id: 'UsageHolder' })
export type UsageHolder = z.output<typeof UsageHolder>

export const UsageView = z
  .strictObject({
    host: z.strictObject({
      cpus: z.int(),
      memoryMiB: z.number(),
      /** Never given out to guests. */
      memoryReserveMiB: z.number(),
      runningMemoryMiB: z.number(),
      runningVcpus: z.number(),
      /** Virtual CPUs that are given out at most: a processor may be promised several times, not without end. */
      vcpusMost: z.int(),
      diskTotalBytes: z.number().nullable(),
      diskFreeBytes: z.number().nullable(),
      diskReserveBytes: z.number().nullable(),
    }),
    /** Of everybody who has none of their own. */
    defaults: QuotaLimits,
    holders: z.array(UsageHolder),
  })
  .meta({ id: 'UsageView' })
export type UsageView = z.output<typeof UsageView>
