/** Files of backups: checksums, durable writes, and a look at a disk file's header before QEMU opens it. */
import { constants } from 'node:fs'
import { lstat, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { hashFile as hashInThread } from '#server/platform/hash-thread.ts'
import { syncDir } from '#server/storage/dirs.ts'

/** SHA-256 of a plain file, never of what a link leads to. @throws the signal's reason; Error ELOOP, ENOENT … */
export async function hashFile(
  path: string,
  signal: AbortSignal,
  /** Bytes since the last call. */
  onBytes: (bytes: number) => void = () => {},
): Promise<{ sha256: string; sizeBytes: number }> {
  if (!(await lstat(path)).isFile()) throw new EngineError('image_refused', 'A file of the backup is not a plain file.')
  let told = 0
  const tell = (doneBytes: number) => {
    onBytes(doneBytes - told)
    told = doneBytes
  }
  const { digests, sizeBytes } = await hashInThread(path, ['sha256'], signal, tell)
  tell(sizeBytes)
  if (digests.sha256 === undefined) throw new Error('the checksum thread made no sha256')
  return { sha256: digests.sha256, sizeBytes }
}

/** A new file, 0600, on disk for good. @throws Error EEXIST, ENOSPC … */
export async function writeNew(path: string, content: string | Uint8Array): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  const handle = await open(path, flags, 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Replaces a file whole. @throws Error ENOSPC … */
export async function replaceDurably(path: string, content: string | Uint8Array): Promise<void> {
  const fresh = `${path}.new`
  await rm(fresh, { force: true })
  await writeNew(fresh, content)
  await rename(fresh, path)
  await syncDir(dirname(path))
}

/** Back to the dashboard's user, private, and on disk for good. */
export async function settleFile(path: string): Promise<void> {
  await rootActs().own({ path, as: { kind: 'dashboard-file' }, sync: true })
}

/** UEFI variables are at most a few hundred KiB. */
const NVRAM_MAX_BYTES = 64 * 2 ** 20

const QCOW2_MAGIC = 0x514649fb
/** Unclean shutdown and zstd: harmless. Everything else names other files or changes the layout. */
const HARMLESS_FEATURES = 0b1001n

/**
 * Refuses a disk file that is not the plain qcow2 file the manifest says it is. Names of backing files are allowed: they
 * are there for people, and never followed.
 * @throws EngineError image_refused
 */
export function inspectDisk(path: string, virtualSizeBytes: number, name: string): Promise<void> {
  return inspect(path, name, (size) =>
    size === BigInt(virtualSizeBytes) ? null : 'has another size than the manifest says',
  )
}

/** As `inspectDisk`, for a file that stands alone. @throws EngineError image_refused */
export function inspectNvram(path: string, name: string): Promise<void> {
  return inspect(path, name, (size, backing) =>
    size > BigInt(NVRAM_MAX_BYTES) ? 'is too large for UEFI variables' : backing ? 'stands on another file' : null,
  )
}

async function inspect(
  path: string,
  name: string,
  wrong: (virtualSizeBytes: bigint, hasBacking: boolean) => string | null,
): Promise<void> {
  const refuse = (why: string): never => {
    throw new EngineError('image_refused', `The file ${name} of the backup ${why}.`)
  }
  const facts = await lstat(path).catch(() => null)
  if (facts === null) return refuse('is missing')
  if (!facts.isFile()) return refuse('is not a plain file')
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const header = Buffer.alloc(104)
    const { bytesRead } = await handle.read(header, 0, header.length, 0)
    if (bytesRead < header.length || header.readUInt32BE(0) !== QCOW2_MAGIC) return refuse('is not a qcow2 file')
    if (header.readUInt32BE(4) !== 3) return refuse('is not a qcow2 file of version 3')
    if (header.readUInt32BE(32) !== 0) return refuse('is encrypted')
    const features = header.readBigUInt64BE(72)
    if ((features & 0b100n) !== 0n) return refuse('keeps its data in another file')
    if ((features & ~HARMLESS_FEATURES) !== 0n) return refuse('is damaged, or needs features that are not allowed here')
    const why = wrong(header.readBigUInt64BE(24), header.readBigUInt64BE(8) !== 0n)
    if (why !== null) return refuse(why)
  } finally {
    await handle.close()
  }
}
