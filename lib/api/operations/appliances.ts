/** Operations: what came in as an appliance (OVA), and files of the host that are to become library images. */
import * as z from 'zod'
import { Appliance, ApplianceId } from '../../schema/appliance.ts'
import { Job } from '../../schema/job.ts'
import { Items, type Operation, op } from '../operation.ts'

const applianceId = z.strictObject({ id: ApplianceId })

export const appliancesOperations = {
  imageImport: op({
    method: 'POST',
    path: '/images/import',
    summary:
      'Copy a file from an allowed directory into the library: any disk format, compressed files and appliances; converting is a job',
    privilege: 'image.register',
    body: z.strictObject({ path: z.string().min(1).max(4096), name: z.string().min(1).max(255).optional() }),
    response: Job,
    status: 202,
    errors: ['quota_exceeded', 'image_refused', 'image_missing', 'no_space'],
  }),
  applianceList: op({
    method: 'GET',
    path: '/appliances',
    summary: 'Appliances that were imported, with the draft of a VM each described',
    privilege: 'image.view',
    response: Items(Appliance),
  }),
  applianceView: op({
    method: 'GET',
    path: '/appliances/:id',
    summary: 'One appliance: its draft, and what could not be taken over',
    privilege: 'image.view',
    params: applianceId,
    response: Appliance,
  }),
  applianceDelete: op({
    method: 'DELETE',
    path: '/appliances/:id',
    summary: 'Forget an appliance’s draft; its images stay in the library',
    privilege: 'image.delete',
    params: applianceId,
    status: 204,
  }),
} as const satisfies Record<string, Operation>
