/** Parts of RFC 9110 and RFC 6266 that downloads need. Pure. */
import { EngineError } from '#server/engine/errors.ts'
import type { ByteRange } from '#server/engine/types.ts'

/**
 * One range of bytes; null: all of it (no header, or a unit we do not know, which is to be ignored).
 * @throws EngineError bad_range for several ranges, malformed ones, and those beyond the end
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | null {
  if (header === undefined || !/^bytes=/i.test(header)) return null
  const refuse = (): never => {
    throw new EngineError('bad_range', 'Ask for one range of bytes inside the file, for example bytes=0-1023.')
  }
  const match = /^bytes=(\d{0,16})-(\d{0,16})$/i.exec(header)
  const [, first = '', last = ''] = match ?? []
  if (match === null || (first === '' && last === '')) return refuse()
  const from = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first)
  const to = first === '' || last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1)
  return from > to || from >= sizeBytes ? refuse() : { from, to }
}

/** `Content-Disposition` of a file to be saved, whatever its name holds. */
export function attachment(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, '_')
  const coded = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename="${plain}"; filename*=UTF-8''${coded}`
}
