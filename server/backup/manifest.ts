/**
 * The manifest of one backup: `manifest.json` in its folder. Folders may come from anywhere (another host, a share that
 * others write to), so a manifest is parsed strictly and every name in it is one that cannot leave the folder.
 */
import * as z from 'zod'
import { BackupId } from '#lib/schema/backup.ts'
import { Instant, UserId, VmId } from '#lib/schema/ids.ts'

export const MANIFEST_MAX_BYTES = 2 ** 20
const MAX_DISKS = 64
const MAX_TPM_FILES = 8
/** As for library images (`server/images/qcow2.ts`). */
const MAX_DISK_BYTES = 64 * 2 ** 40

/** A plain name of a file in the folder: no slash, no leading dot or dash. */
const FileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/, 'Not a plain file name.')
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const Bytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER)

const StoredFile = {
  file: FileName,
  sizeBytes: Bytes,
  sha256: Sha256,
}

export const ManifestDisk = z.strictObject({
  /** Device in the definition. */
  device: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/),
  ...StoredFile,
  format: z.literal('qcow2'),
  virtualSizeBytes: Bytes.min(512)
    .max(MAX_DISK_BYTES)
    .refine((bytes) => bytes % 512 === 0, 'Not whole sectors.'),
  /** `incremental`: reads what it lacks from the disk of the same device in the parent. */
  kind: z.enum(['full', 'incremental']),
  /** What the guest had changed; null for a full copy. */
  changedBytes: Bytes.nullable(),
})
export type ManifestDisk = z.output<typeof ManifestDisk>

export const Manifest = z
  .strictObject({
    format: z.literal('guestdeck-backup'),
    version: z.literal(1),
    id: BackupId,
    vm: z.strictObject({ id: VmId, name: z.string().min(1).max(64) }),
    ownerId: UserId,
    createdAt: Instant,
    kind: z.enum(['full', 'incremental']),
    /** What the incremental disks stand on. */
    parent: BackupId.nullable(),
    /** Whether the guest ran. */
    running: z.boolean(),
    /** Whether its file systems were frozen by the guest agent. */
    frozen: z.boolean(),
    compression: z.enum(['none', 'zstd']),
    /** Name of the dirty bitmap that counts from this backup on, in the disks of the VM. */
    bitmap: z.string().max(64),
    /** The schedule that made it: only its own are removed by its retention. */
    scheduleId: z.string().max(64).nullable(),
    /** The definition, without secrets. Read with the reader of stored definitions when it is needed. */
    spec: z.json(),
    disks: z.array(ManifestDisk).max(MAX_DISKS),
    nvram: z.strictObject({ ...StoredFile, format: z.literal('qcow2'), secureBoot: z.boolean() }).nullable(),
    /** State of the TPM, as swtpm keeps it: not encrypted. */
    tpm: z.array(z.strictObject({ ...StoredFile, name: FileName })).max(MAX_TPM_FILES),
    /** What is not in the backup, as sentences. */
    left: z.array(z.string().max(300)).max(MAX_DISKS),
  })
  .superRefine((manifest, context) => {
    const refuse = (message: string) => context.addIssue({ code: 'custom', message })
    const files = [...manifest.disks, ...manifest.tpm, ...(manifest.nvram ? [manifest.nvram] : [])].map((f) => f.file)
    if (new Set(files).size !== files.length || files.some((file) => RESERVED.has(file)))
      refuse('A file is named twice.')
    if (new Set(manifest.disks.map(({ device }) => device)).size !== manifest.disks.length)
      refuse('A disk is named twice.')
    const isIncremental = manifest.disks.some(({ kind }) => kind === 'incremental')
    if (isIncremental !== (manifest.kind === 'incremental')) refuse('Its kind does not fit its disks.')
    if (isIncremental !== (manifest.parent !== null)) refuse('Its parent does not fit its disks.')
    if (manifest.parent === manifest.id) refuse('It stands on itself.')
  })
export type Manifest = z.output<typeof Manifest>

/** What people and runs of the dashboard say about a backup later: `notes.json` beside the manifest. */
export const BackupNotes = z.strictObject({
  version: z.literal(1),
  note: z.string().max(500),
  keep: z.boolean(),
  verified: z
    .strictObject({
      at: Instant,
      ok: z.boolean(),
      /** Sentence for people. */
      message: z.string().max(1000),
      /** Whether it was started in isolation, and whether there is a picture. */
      booted: z.boolean(),
    })
    .nullable(),
})
export type BackupNotes = z.output<typeof BackupNotes>

export const NO_NOTES: BackupNotes = { version: 1, note: '', keep: false, verified: null }

export const FILES = {
  manifest: 'manifest.json',
  notes: 'notes.json',
  readme: 'README.txt',
  screen: 'screen.png',
} as const
const RESERVED: ReadonlySet<string> = new Set([...Object.values(FILES), 'switch.json'])

/** @returns the reason, as a sentence, when it is not a manifest */
export function parseManifest(text: string): Manifest | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return 'Its manifest is not JSON.'
  }
  const parsed = Manifest.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  return `Its manifest is not one of Guestdeck (${issue?.path.join('.') || 'whole'}: ${(issue?.message ?? '').slice(0, 120)}).`
}
