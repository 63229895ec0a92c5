/** What a VM is a clone of. */
import * as z from 'zod'
import { Instant, VmId } from './ids.ts'

/**
 * `linked`: copy-on-write over the source's disks, which are never written again; made in no time, takes no room at
 * first. `full`: a copy that stands alone.
 */
export const CloneKind = z.enum(['linked', 'full']).meta({ id: 'CloneKind' })
export type CloneKind = z.output<typeof CloneKind>

/** Where a VM came from. */
export const VmOrigin = z
  .strictObject({
    kind: CloneKind,
    /** The source and its name then; it may have gone, or be somebody else's. */
    vmId: VmId,
    name: z.string(),
    /** Name of the snapshot it was made from. */
    snapshot: z.string().nullable(),
    at: Instant,
  })
  .meta({ id: 'VmOrigin' })
export type VmOrigin = z.output<typeof VmOrigin>
