/**
 * The catalogue: well-known installers and cloud images, by the addresses at which their publishers keep the newest,
 * with checksums by reference. `catalogue.json` beside this file is ours; a file of the operator's (YAML or JSON, of the
 * same form) adds entries and replaces ours by id. It is read again when it changes; what is wrong in it is told and
 * left out, never fatal.
 */
import { readFileSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import * as z from 'zod'
import { GuestKind } from '#lib/schema/vm-spec.ts'
import { shownUrl } from '#server/fetch/url-guard.ts'
import { readChecksum } from './checksums.ts'
import { type DownloadPlan, throughMirror } from './download-plan.ts'

const FILE_MAX_BYTES = 2 ** 20

const Directory = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine((text) => !/[?#@]/.test(text), 'must be a plain address without query or credentials')
  .transform((text) => (text.endsWith('/') ? text : `${text}/`))
const Line = z
  .string()
  .max(500)
  .regex(/^[^\p{C}]*$/u, 'must not contain control characters')
const FileName = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^/\\\p{C}]+$/u, 'must be a plain file name')

/** Patterns stay simple, so that none can take long: no groups, no alternatives, no nesting. */
const Pattern = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^()|{}?]+$/, 'must be a simple pattern: letters, digits, [classes], +, * and \\.')
  .refine((text) => {
    try {
      new RegExp(`^(?:${text})$`)
      return (text.match(/[+*]/g) ?? []).length <= 4
    } catch {
      return false
    }
  }, 'must be a regular expression with at most four repetitions')

export const Entry = z
  .strictObject({
    id: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/, 'must be small letters, digits, dots and dashes'),
    name: Line.min(1).max(100),
    os: z.string().regex(/^[a-z0-9-]{1,32}$/),
    guest: GuestKind,
    kind: z.enum(['iso', 'cloud', 'disk']),
    description: Line.default(''),
    homepage: z
      .url({ protocol: /^https?$/ })
      .max(500)
      .nullable()
      .default(null),
    /** Mirrors of one directory, in the order they are tried. */
    directories: z.array(Directory).min(1).max(8),
    file: FileName.optional(),
    /** Instead of `file`: the newest name in the list that matches. */
    pattern: Pattern.optional(),
    /** Name of the list of checksums in the same directory. */
    list: FileName.nullable().default(null),
    format: z.enum(['sums', 'fedora-json', 'alpine-yaml']).default('sums'),
    /** The checksum itself, where the file never changes. */
    checksum: z.string().optional(),
    memoryMiB: z.int().min(32).max(1_048_576),
    diskGiB: z.int().min(1).max(65_536),
  })
  .refine((entry) => (entry.file === undefined) !== (entry.pattern === undefined), 'needs either file or pattern')
  .refine((entry) => entry.pattern === undefined || entry.list !== null, 'a pattern needs a list')
  .refine(
    (entry) => entry.checksum === undefined || readChecksum(entry.checksum) !== null,
    'checksum must be a SHA-256 or SHA-512 in hexadecimal digits',
  )
export type Entry = z.output<typeof Entry>

export interface LoadedCatalogue {
  readonly entries: readonly (Entry & { readonly own: boolean })[]
  readonly problems: readonly string[]
}

export interface Catalogue {
  load(): Promise<LoadedCatalogue>
  plan(entry: Entry): DownloadPlan
  /** For people. */
  sourceOf(entry: Entry): string
}

/** Entries of a file that are right, and a sentence for each that is not. Pure. */
export function readEntries(value: unknown): { entries: Entry[]; problems: string[] } {
  if (value === null || value === undefined) return { entries: [], problems: [] }
  if (!Array.isArray(value)) return { entries: [], problems: ['The file is not a list of entries.'] }
  const entries: Entry[] = []
  const problems: string[] = []
  for (const [index, raw] of value.entries()) {
    const parsed = Entry.safeParse(raw)
    if (parsed.success && !entries.some(({ id }) => id === parsed.data.id)) {
      entries.push(parsed.data)
      continue
    }
    const issue = parsed.error?.issues[0]
    const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `
    problems.push(`Entry ${index + 1} is left out. ${where}${issue?.message ?? 'its id is there twice'}.`)
  }
  return { entries, problems }
}

/** @param mirror base address that stands for every publisher: BASE/HOST/PATH; null: the publishers' own */
export function createCatalogue(ownFile: string, mirror: string | null): Catalogue {
  const shipped = readEntries(JSON.parse(readFileSync(join(import.meta.dirname, 'catalogue.json'), 'utf8')))
  let read: { stamp: string; own: ReturnType<typeof readEntries> } = { stamp: '', own: { entries: [], problems: [] } }

  const mirrored = (url: string) => throughMirror(url, mirror)
  const readOwn = async (): Promise<ReturnType<typeof readEntries>> => {
    const facts = await stat(ownFile).catch(() => null)
    const stamp = facts === null ? '' : `${facts.mtimeMs} ${facts.size} ${facts.ino}`
    if (stamp === read.stamp) return read.own
    let own: ReturnType<typeof readEntries> = { entries: [], problems: [] }
    if (facts !== null) {
      try {
        if (!facts.isFile() || facts.size > FILE_MAX_BYTES) throw new Error('it is no file, or larger than 1 MiB')
        own = readEntries(parseYaml(await readFile(ownFile, 'utf8'), { maxAliasCount: 0 }))
      } catch (error) {
        const why = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : 'unknown'
        own = { entries: [], problems: [`It cannot be read: ${why.slice(0, 300)}`] }
      }
    }
    read = { stamp, own }
    return own
  }

  return {
    async load() {
      const own = await readOwn()
      const replaced = new Set(own.entries.map(({ id }) => id))
      return {
        entries: [
          ...shipped.entries.filter(({ id }) => !replaced.has(id)).map((entry) => ({ ...entry, own: false })),
          ...own.entries.map((entry) => ({ ...entry, own: true })),
        ],
        problems: [...shipped.problems, ...own.problems],
      }
    },
    plan: (entry) => ({
      urls:
        entry.file === undefined ? [] : entry.directories.map((dir) => mirrored(new URL(entry.file ?? '', dir).href)),
      checksum: entry.checksum === undefined ? null : readChecksum(entry.checksum),
      lists:
        entry.list === null || entry.checksum !== undefined
          ? []
          : entry.directories.map((dir) => mirrored(new URL(entry.list ?? '', dir).href)),
      format: entry.format,
      file: entry.file ?? null,
      pattern: entry.pattern ?? null,
      directories: entry.directories.map(mirrored),
      mirror,
    }),
    sourceOf: (entry) => shownUrl(mirrored(entry.directories[0] ?? '')),
  }
}
