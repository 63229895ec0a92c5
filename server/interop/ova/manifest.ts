/** Reads the manifest of an OVA: one checksum for each file. Pure. */
import { EngineError } from '#server/engine/errors.ts'

export interface ManifestEntry {
  readonly algorithm: 'sha1' | 'sha256' | 'sha512'
  /** Lower-case hex. */
  readonly digest: string
}

export const MAX_MANIFEST_BYTES = 64 * 1024
const LINE = /^(SHA(?:1|256|512))\s*\(([^()]{1,255})\)\s*=\s*([0-9a-f]{40,128})$/i
const ALGORITHMS = { SHA1: 'sha1', SHA256: 'sha256', SHA512: 'sha512' } as const
const DIGITS = { sha1: 40, sha256: 64, sha512: 128 } as const

/** @param members names of the archive's files @throws EngineError import_refused */
export function readManifest(text: string, members: ReadonlySet<string>): Map<string, ManifestEntry> {
  const entries = new Map<string, ManifestEntry>()
  for (const raw of text.split('\n')) {
    const line = raw.trim()
    if (line === '') continue
    const parts = LINE.exec(line)
    const algorithm = ALGORITHMS[(parts?.[1] ?? '').toUpperCase() as keyof typeof ALGORITHMS]
    const name = parts?.[2] ?? ''
    const digest = (parts?.[3] ?? '').toLowerCase()
    if (parts === null || algorithm === undefined || digest.length !== DIGITS[algorithm]) {
      throw new EngineError('import_refused', 'The manifest of the appliance (.mf) has a line that cannot be read.')
    }
    if (!members.has(name) || entries.has(name)) {
      throw new EngineError(
        'import_refused',
        'The manifest of the appliance (.mf) names a file that is not in the archive, or one twice. The archive is not complete.',
      )
    }
    entries.set(name, { algorithm, digest })
  }
  return entries
}
