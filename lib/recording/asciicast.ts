/** Recordings of a serial console: asciicast, version 2, which asciinema and many other players read. */
import * as z from 'zod'

export const CastHeader = z.object({
  version: z.literal(2),
  width: z.int().min(1).max(1000),
  height: z.int().min(1).max(1000),
  /** Seconds since 1970. */
  timestamp: z.int().optional(),
  title: z.string().optional(),
})
export type CastHeader = z.output<typeof CastHeader>

const CastEvent = z.tuple([z.number().min(0), z.string().max(8), z.string()])

export interface CastOutput {
  readonly atMs: number
  readonly text: string
}
export interface Cast {
  readonly header: CastHeader
  /** In order of time. */
  readonly output: readonly CastOutput[]
  readonly durationMs: number
}

export const castHeaderLine = (header: CastHeader): string => `${JSON.stringify(header)}\n`
/** @param kind `o`: output of the terminal; `m`: a mark with a word about it */
export const castLine = (atMs: number, kind: 'o' | 'm', text: string): string =>
  `${JSON.stringify([Math.round(atMs) / 1000, kind, text])}\n`

/** Reads all there is: a last line that is cut off, and what is no output, is passed over. Null: it is no asciicast. */
export function parseCast(text: string): Cast | null {
  const [first = '', ...lines] = text.split('\n')
  const header = CastHeader.safeParse(jsonOf(first))
  if (!header.success) return null
  const output: CastOutput[] = []
  let durationMs = 0
  for (const line of lines) {
    const event = line === '' ? null : CastEvent.safeParse(jsonOf(line))
    if (event === null || !event.success) continue
    const [seconds, kind, data] = event.data
    const atMs = Math.max(durationMs, Math.round(seconds * 1000))
    durationMs = atMs
    if (kind === 'o') output.push({ atMs, text: data })
  }
  return { header: header.data, output, durationMs }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
