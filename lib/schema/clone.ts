/** Clones of VMs, and templates: VMs that are not started but cloned. */
import * as z from 'zod'
import { SnapshotId, VmId } from './ids.ts'
import { CloneKind } from './origin.ts'
import { SeedInput } from './seed.ts'
import { ActionState } from './vm-state.ts'

/** A name, with {name} (the source's) and {index} put in. */
export const CloneNamePattern = z
  .string()
  .min(1)
  .max(64)
  .regex(
    /^[\p{L}\p{N}{][\p{L}\p{M}\p{N} ._()#@+{}-]*$/u,
    'starts with a letter, a digit, {name} or {index}; then letters, digits, spaces and . _ ( ) # @ + -',
  )

export const CLONES_AT_ONCE = 50

export const CloneInput = z
  .strictObject({
    kind: CloneKind.default('linked'),
    name: CloneNamePattern,
    /** So many at once, all of the same moment. Without {index} in the name it is put behind. */
    count: z.int().min(1).max(CLONES_AT_ONCE).default(1),
    firstIndex: z.int().min(0).max(9000).default(1),
    /** As it was then; left out: as it is now. */
    snapshot: SnapshotId.optional(),
    /** What the TPM knows is copied, so that what it keeps sealed opens; or the clone gets an empty one. */
    tpm: z.enum(['copy', 'fresh']).default('copy'),
    /** For the first start of each, with {name} and {index} of its own. */
    seed: SeedInput.optional(),
    start: z.boolean().default(false),
  })
  .meta({ id: 'CloneInput' })
export type CloneInput = z.output<typeof CloneInput>

/** What can be cloned of a VM, and which VMs read the same disk files. */
export const CloneFacts = z
  .strictObject({
    linked: ActionState,
    full: ActionState,
    /** What becomes different in a clone, or needs care, a sentence each. */
    notes: z.array(z.string()),
    template: z.strictObject({ set: ActionState, unset: ActionState }),
    /** VMs that stand on the same disk files: those the caller may see, and how many besides. */
    standing: z.strictObject({
      vms: z.array(z.strictObject({ id: VmId, name: z.string() })),
      others: z.int(),
    }),
    /** Bytes of the disks as the guest sees them, and as a full copy may take on the host. */
    sizeBytes: z.number(),
    allocatedBytes: z.number(),
  })
  .meta({ id: 'CloneFacts' })
export type CloneFacts = z.output<typeof CloneFacts>

export const TemplateInput = z.strictObject({ template: z.boolean() }).meta({ id: 'TemplateInput' })
