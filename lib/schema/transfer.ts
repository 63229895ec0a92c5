/** What is on its way into the image library: uploads, downloads, and the catalogue of what could be fetched. */
import * as z from 'zod'
import { ImageId, Instant, JobId } from './ids.ts'
import { GuestKind } from './vm-spec.ts'

/** A resumable upload that is not an image yet. */
export const UploadSession = z
  .strictObject({
    id: ImageId,
    name: z.string(),
    sizeBytes: z.number(),
    /** So many bytes are safe on the host's disk; the next piece begins here. */
    offsetBytes: z.number(),
    /** Of the file at the sender, milliseconds since 1970: tells whether a file chosen later is the same one. */
    lastModifiedMs: z.number().nullable(),
    /** `held`: complete, but could not be added yet; `problem` says why. */
    state: z.enum(['waiting', 'receiving', 'checking', 'held']),
    problem: z.string().nullable(),
    jobId: JobId.nullable(),
    createdAt: Instant,
    /** Removed then, unless something came before. */
    expiresAt: Instant,
    startedBy: z.string(),
  })
  .meta({ id: 'UploadSession' })
export type UploadSession = z.output<typeof UploadSession>

const Hex = z
  .string()
  .regex(/^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/, 'must be a SHA-256 or SHA-512 in hexadecimal digits')
const Address = z.string().min(8).max(4096)

/** The checksum itself, or the address of a list that names the file, such as SHA256SUMS. */
export const ExpectedChecksum = z.union([
  z.strictObject({ value: Hex }),
  z.strictObject({
    listUrl: Address,
    /** Name in the list, when it is not the last part of the address. */ file: z.string().min(1).max(255).optional(),
  }),
])

export const DownloadInput = z
  .strictObject({
    url: Address,
    /** Other addresses of the same file, tried in order. */
    mirrors: z.array(Address).max(8).default([]),
    checksum: ExpectedChecksum.optional(),
    /** Left out: the last part of the address. */
    name: z.string().min(1).max(255).optional(),
  })
  .meta({ id: 'DownloadInput' })
export type DownloadInput = z.output<typeof DownloadInput>

/** What an address would bring. */
export const DownloadPreview = z
  .strictObject({
    name: z.string(),
    /** Where it really comes from, after redirects; without query. */
    url: z.string(),
    sizeBytes: z.number().nullable(),
    type: z.string().nullable(),
    lastModified: Instant.nullable(),
    /** Whether a broken connection can be taken up again. */
    canResume: z.boolean(),
    checksum: z.strictObject({ algorithm: z.enum(['sha256', 'sha512']), value: z.string() }).nullable(),
    /** The library has a file of this checksum already. */
    existing: ImageId.nullable(),
  })
  .meta({ id: 'DownloadPreview' })
export type DownloadPreview = z.output<typeof DownloadPreview>

export const CatalogueEntry = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    /** Short name of the distribution, for example `debian`. */
    os: z.string(),
    guest: GuestKind,
    /** `iso`: an installer or live system. `cloud`: a disk that cloud-init sets up. `disk`: any other disk. */
    kind: z.enum(['iso', 'cloud', 'disk']),
    description: z.string(),
    homepage: z.string().nullable(),
    /** Where it is fetched from, without query. */
    source: z.string(),
    /** How it is checked; null: its publisher offers no list of checksums. */
    checksum: z.enum(['sha256', 'sha512', 'list']).nullable(),
    memoryMiB: z.number(),
    diskGiB: z.number(),
    /** From the operator's own file. */
    own: z.boolean(),
    /** Images of the library that came from it. */
    images: z.array(ImageId),
    /** The job that is fetching it. */
    jobId: JobId.nullable(),
  })
  .meta({ id: 'CatalogueEntry' })
export type CatalogueEntry = z.output<typeof CatalogueEntry>
