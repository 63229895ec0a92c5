/** What to download and how it is checked, before and after the lists of checksums were read. */
import { parse as parseYaml } from 'yaml'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { fetchText, type Guard } from '#server/fetch/client.ts'
import { parseSource, shownUrl } from '#server/fetch/url-guard.ts'
import { checksumFor, newestMatch, parseList } from './checksums.ts'
import { cleanImageName } from './names.ts'

const LIST_MAX_BYTES = 2 * 2 ** 20

const Sum = z.object({ algorithm: z.enum(['sha256', 'sha512']), value: z.string() })

/** Addresses in the order they are tried. */
export const DownloadPlan = z.object({
  /** Empty: `pattern` tells, once the list was read. */
  urls: z.array(z.string()),
  checksum: Sum.nullable(),
  /** Same list on each mirror; empty: there is none to read. */
  lists: z.array(z.string()),
  format: z.enum(['sums', 'fedora-json', 'alpine-yaml']),
  /** Name in the list; null with `pattern`. */
  file: z.string().nullable(),
  /** Regular expression for the whole name; the newest that matches is taken. */
  pattern: z.string().nullable(),
  /** Where the file that matched lies, unless the list has full addresses. */
  directories: z.array(z.string()),
  /** Stands for every other server, as MIRROR/HOST/PATH; null: none does. */
  mirror: z.string().nullable(),
})
export type DownloadPlan = z.output<typeof DownloadPlan>

export const throughMirror = (url: string, mirror: string | null): string => {
  if (mirror === null) return url
  const { host, pathname, search } = new URL(url)
  return `${mirror}/${host}${pathname}${search}`
}

export interface ResolvedPlan {
  readonly urls: readonly string[]
  readonly checksum: z.output<typeof Sum> | null
}

/** Last part of an address's path; never what the server calls the file. */
export function fileNameOf(url: string | URL): string {
  const last = new URL(url).pathname.split('/').at(-1) ?? ''
  try {
    return decodeURIComponent(last)
  } catch {
    return last
  }
}

/** A name for the library; odd ones become a plain one rather than a refusal. */
export function imageNameOf(url: string): string {
  try {
    return cleanImageName(fileNameOf(url))
  } catch {
    return 'download'
  }
}

/** @throws EngineError source_failed, blocked_address, bad_input with field `checksum` when no list names the file */
export async function resolvePlan(plan: DownloadPlan, guard: Guard, signal: AbortSignal): Promise<ResolvedPlan> {
  if (plan.lists.length === 0) return { urls: plan.urls, checksum: plan.checksum }
  let failure: unknown = null
  for (const list of plan.lists) {
    try {
      const text = await fetchText(parseSource(list, 'checksum'), guard, LIST_MAX_BYTES, signal)
      const entries = parseList(text, plan.format, (yaml) => parseYaml(yaml, { maxAliasCount: 0 }))
      if (plan.pattern !== null) {
        const hit = newestMatch(entries, new RegExp(`^(?:${plan.pattern})$`))
        if (hit !== null) {
          const urls =
            hit.url === null
              ? plan.directories.map((dir) => new URL(hit.file, dir).href)
              : [throughMirror(parseSource(hit.url, 'checksum').href, plan.mirror)]
          return { urls, checksum: hit.checksum }
        }
      } else {
        const checksum = checksumFor(entries, plan.file ?? '')
        if (checksum !== null) return { urls: plan.urls, checksum }
      }
      failure = new EngineError(
        'bad_input',
        `The list ${shownUrl(list)} names no checksum of ${plan.file ?? 'such a file'}. Give the checksum itself, or another list.`,
        { field: 'checksum' },
      )
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  throw failure
}
