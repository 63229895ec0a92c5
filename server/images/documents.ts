/** The stored form of a library image. */

import * as z from 'zod'
import { ImageOrigin } from '#lib/schema/image.ts'

export const ImageDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  kind: z.enum(['iso', 'disk']),
  format: z.enum(['raw', 'qcow2']),
  sizeBytes: z.number(),
  virtualSizeBytes: z.number(),
  /** Of the file as it was brought; null while a registered file is still being read. */
  sha256: z.string().nullable(),
  label: z.string().nullable(),
  guest: z.enum(['linux', 'windows', 'bsd', 'other']).nullable(),
  source: z.enum(['upload', 'registered', 'starter', 'download', 'import']),
  /** Which starter it came from; null for anything else. */
  starter: z.string().nullable(),
  /** Absolute path of a registered file; null: ours, at `DataPaths.image(id)`. */
  path: z.string().nullable(),
  /** Modification time of the file when it was added, milliseconds: a registered file that changed is not present. */
  mtimeMs: z.number(),
  addedBy: z.object({ id: z.string(), name: z.string() }),
  addedAt: z.string(),
  // What follows came later: documents stored before have none of it, hence the defaults.
  /** What was brought, when our file is a converted or unpacked copy of it. */
  origin: ImageOrigin.nullable().default(null),
  /** What people wrote about it. */
  description: z.string().default(''),
  /** Address it was downloaded from, without credentials and query. */
  downloadedFrom: z.string().nullable().default(null),
  /** Id of the entry of the catalogue it came from. */
  catalogue: z.string().nullable().default(null),
  /** The appliance it came with. */
  appliance: z.string().nullable().default(null),
})
export type ImageDocument = z.output<typeof ImageDocument>
