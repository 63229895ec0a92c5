/**
 * Lists of checksums as distributions publish them. Pure: text in, entries out; what is not understood is skipped, a
 * PGP signature around it is not looked at.
 */
import * as z from 'zod'
import type { Algorithm } from '#server/platform/hash-thread.ts'

export type { Algorithm }
export interface Checksum {
  readonly algorithm: Algorithm
  /** Lower-case hex. */
  readonly value: string
}
export interface ListedFile {
  /** Last part of the path. */
  readonly file: string
  readonly checksum: Checksum
  /** Full address, where the list has one. */
  readonly url: string | null
}

const ALGORITHM_OF_LENGTH: Readonly<Record<number, Algorithm>> = { 64: 'sha256', 128: 'sha512' }

/** Null: neither SHA-256 nor SHA-512. */
export function readChecksum(text: string): Checksum | null {
  const value = text.trim().toLowerCase()
  const algorithm = ALGORITHM_OF_LENGTH[value.length]
  return algorithm !== undefined && /^[0-9a-f]+$/.test(value) ? { algorithm, value } : null
}

const lastPart = (path: string): string => path.split('/').at(-1) ?? ''

/** `HASH  NAME`, `HASH *NAME` (coreutils) and `SHA256 (NAME) = HASH` (BSD), also a hash alone. */
function parseSums(text: string): ListedFile[] {
  const found: ListedFile[] = []
  for (const line of text.split('\n')) {
    const bsd = /^(?:SHA256|SHA512) \(([^()]{1,255})\) = ([0-9a-fA-F]{64,128})\s*$/.exec(line)
    const gnu = /^\\?([0-9a-fA-F]{64,128})(?: [ *]?(\S.{0,1000}))?\s*$/.exec(line)
    const [name, hash] = bsd !== null ? [bsd[1], bsd[2]] : [gnu?.[2], gnu?.[1]]
    const checksum = hash === undefined ? null : readChecksum(hash)
    if (checksum !== null) found.push({ file: lastPart(name?.trim() ?? ''), checksum, url: null })
  }
  return found
}

const FedoraReleases = z.array(
  z.object({ link: z.string(), arch: z.string().optional(), sha256: z.string().nullish() }).loose(),
)
const AlpineReleases = z.array(
  z.object({ file: z.string(), sha256: z.string().optional(), sha512: z.string().optional() }).loose(),
)

export type ListFormat = 'sums' | 'fedora-json' | 'alpine-yaml'

/** @param parseYaml of the `yaml` package, handed in so that the browser does not need it */
export function parseList(text: string, format: ListFormat, parseYaml: (text: string) => unknown): ListedFile[] {
  if (format === 'sums') return parseSums(text)
  try {
    if (format === 'fedora-json') {
      return FedoraReleases.parse(JSON.parse(text)).flatMap(({ link, sha256 }) => {
        const checksum = readChecksum(sha256 ?? '')
        return checksum === null ? [] : [{ file: lastPart(link), checksum, url: link }]
      })
    }
    return AlpineReleases.parse(parseYaml(text)).flatMap(({ file, sha256, sha512 }) => {
      const checksum = readChecksum(sha512 ?? sha256 ?? '')
      return checksum === null ? [] : [{ file: lastPart(file), checksum, url: null }]
    })
  } catch {
    return []
  }
}

/**
 * The checksum of one file. A list that holds a single hash is taken for that file, whatever name stands beside it: so
 * are the `NAME.sha256` files whose hash is of the dated file that the name leads to.
 */
export function checksumFor(list: readonly ListedFile[], file: string): Checksum | null {
  const named = list.filter((entry) => entry.file === file)
  // A file may be listed under both algorithms: the longer wins.
  const best = named.find(({ checksum }) => checksum.algorithm === 'sha512') ?? named[0]
  if (best !== undefined) return best.checksum
  return list.length === 1 ? (list[0]?.checksum ?? null) : null
}

/** Compares parts of a name as numbers where both are: 12.10 comes after 12.9. */
const byVersion = new Intl.Collator('en', { numeric: true }).compare

/** The newest of the files whose whole name matches. */
export function newestMatch(list: readonly ListedFile[], pattern: RegExp): ListedFile | null {
  const matching = list.filter(({ file }) => pattern.test(file)).sort((a, b) => byVersion(a.file, b.file))
  const newest = matching.at(-1)
  if (newest === undefined) return null
  const checksum = checksumFor(matching, newest.file)
  return checksum === null ? null : { ...newest, checksum }
}
