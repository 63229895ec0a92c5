/** The stored form of a library image. */

import * as z from 'zod'
import { BootMode, ImageOrigin, ImageOs } from '#lib/schema/image.ts'
import { guestOf } from '#server/filesystems/os-facts.ts'

/** What was found when somebody looked inside. */
export const Inspection = z.object({
  /** Which version of the reader looked: a newer one looks again. */
  by: z.number(),
  os: ImageOs.nullable(),
  bootModes: z.array(BootMode),
  cloudInit: z.boolean().nullable(),
})
export type Inspection = z.output<typeof Inspection>

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
  /** Null: not looked inside yet. */
  inspected: Inspection.nullable().default(null),
})
export type ImageDocument = z.output<typeof ImageDocument>

/** Kind of guest: by what is inside, or else by the label; null: not known. */
export const guestOfImage = ({
  inspected,
  guest,
}: Pick<ImageDocument, 'inspected' | 'guest'>): ImageDocument['guest'] =>
  inspected?.os ? guestOf(inspected.os) : guest
