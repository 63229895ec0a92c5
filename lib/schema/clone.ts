/** Clones of VMs, and templates: VMs that are not started but cloned. */
import * as z from 'zod'
import { SnapshotId, VmId } from './ids.ts'
import { CloneKind } from './origin.ts'
import { HostNamePattern, SeedInput } from './seed.ts'
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

/** What can be taken out of a copy so that it is a machine of its own, in the order it is done. Named as virt-sysprep does. */
export const CLEAN_UPS = [
  'machine-id',
  'ssh-hostkeys',
  'dhcp-client-state',
  'net-hwaddr',
  'udev-persistent-net',
  'logfiles',
  'bash-history',
  'tmp-files',
  'mail-spool',
  'ssh-userdir',
  'package-manager-cache',
  'rh-subscription-manager',
  'lvm-uuids',
] as const
export const CleanUpName = z.enum(CLEAN_UPS)
export type CleanUpName = z.output<typeof CleanUpName>

/** What no two machines should have in common; the rest is a matter of taste. */
export const USUAL_CLEAN_UPS: readonly CleanUpName[] = CLEAN_UPS.slice(0, 5)

export const CleanUpInput = z
  .strictObject({
    operations: z
      .array(CleanUpName)
      .max(CLEAN_UPS.length)
      .default([...USUAL_CLEAN_UPS]),
    /** Written into the guest, with {name} and {index} put in; null: the source's stays. */
    hostName: HostNamePattern.nullable().default(null),
  })
  .meta({ id: 'CleanUpInput' })
export type CleanUpInput = z.output<typeof CleanUpInput>

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
    /** Changes inside the guest's file systems, before anybody sees the clone. */
    cleanUp: CleanUpInput.optional(),
    start: z.boolean().default(false),
  })
  .meta({ id: 'CloneInput' })
export type CloneInput = z.output<typeof CloneInput>

/** What can be cloned of a VM, and which VMs read the same disk files. */
export const CloneFacts = z
  .strictObject({
    linked: ActionState,
    full: ActionState,
    /** Whether what makes the source one machine can be taken out of a clone's disks. */
    cleanUp: ActionState,
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
