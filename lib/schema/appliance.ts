/** What an OVA described: a draft of a VM and an honest list of what could not be taken over. */
import * as z from 'zod'
import { ImageId, Instant, UserId } from './ids.ts'
import { VmSpecInput } from './vm-spec.ts'

export const ApplianceId = z
  .string()
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)
  .brand('ApplianceId')
  .meta({ id: 'ApplianceId' })
export type ApplianceId = z.output<typeof ApplianceId>

/** One thing of the description and what became of it. */
export const ImportNote = z.strictObject({
  /** `kept`: as it was. `changed`: something of ours does its work. `dropped`: the VM will not have it. */
  fate: z.enum(['kept', 'changed', 'dropped']),
  /** What it was called there. */
  what: z.string(),
  /** A sentence: what became of it, and why. */
  detail: z.string(),
})
export type ImportNote = z.output<typeof ImportNote>

export const Appliance = z
  .strictObject({
    id: ApplianceId,
    name: z.string(),
    /** To be looked at on the create page; disks name the images that came with it. */
    draft: VmSpecInput,
    report: z.array(ImportNote),
    images: z.array(ImageId),
    addedBy: z.strictObject({ id: UserId, name: z.string() }),
    addedAt: Instant,
  })
  .meta({ id: 'Appliance' })
export type Appliance = z.output<typeof Appliance>
