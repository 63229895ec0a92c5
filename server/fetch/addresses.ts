/**
 * Which addresses the dashboard may fetch from on behalf of somebody. Pure: an address as text in, a reason out.
 *
 * What is not plainly a public unicast address is refused. IPv6 is judged by what is allowed (2000::/3 less its
 * special parts), so that a range this file has not heard of is closed; addresses that carry an IPv4 address are
 * judged by that one. Sources: the IANA special-purpose registries of IPv4 and IPv6 (RFC 6890), RFC 6052 for NAT64.
 */
import { isIP } from 'node:net'

type Bytes = readonly number[]
interface Net {
  readonly bytes: Bytes
  readonly bits: number
}

/** Four or sixteen bytes; null when it is no address, or one with a zone (which is link-local by nature). */
export function addressBytes(text: string): Bytes | null {
  const kind = isIP(text)
  if (kind === 4) return text.split('.').map(Number)
  if (kind !== 6 || text.includes('%')) return null
  const [head = '', tail] = text.split('::', 2)
  const words = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').flatMap((word) => {
          if (!word.includes('.')) return [Number.parseInt(word, 16)]
          const [a = 0, b = 0, c = 0, d = 0] = word.split('.').map(Number)
          return [a * 256 + b, c * 256 + d]
        })
  const before = words(head)
  const after = tail === undefined ? [] : words(tail)
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
  return all.flatMap((word) => [word >> 8, word & 255])
}

/** `10.0.0.0/8`; without a length the address alone. Null when malformed. */
export function parseNet(text: string): Net | null {
  const [address = '', length, more] = text.split('/')
  const bytes = addressBytes(address)
  if (bytes === null || more !== undefined) return null
  const most = bytes.length * 8
  if (length === undefined) return { bytes, bits: most }
  const bits = Number(length)
  return /^\d{1,3}$/.test(length) && bits <= most ? { bytes, bits } : null
}

export function isInside(bytes: Bytes, net: Net): boolean {
  if (bytes.length !== net.bytes.length) return false
  for (let bit = 0; bit < net.bits; bit += 8) {
    const mask = 0xff << Math.max(0, 8 - (net.bits - bit))
    if (((bytes[bit / 8] ?? 0) & mask & 0xff) !== ((net.bytes[bit / 8] ?? 0) & mask & 0xff)) return false
  }
  return true
}

const table = (entries: readonly (readonly [string, string])[]): readonly (readonly [Net, string])[] =>
  entries.flatMap(([text, why]) => {
    const net = parseNet(text)
    return net === null ? [] : [[net, why] as const]
  })

const PRIVATE = 'it is inside a private network'
const RESERVED = 'it is reserved'

const CLOSED_4 = table([
  ['0.0.0.0/8', 'it means this machine'],
  ['10.0.0.0/8', PRIVATE],
  ['100.64.0.0/10', 'it is inside a provider’s network'],
  ['127.0.0.0/8', 'it is this machine'],
  ['169.254.0.0/16', 'it is link-local'],
  ['172.16.0.0/12', PRIVATE],
  ['192.0.0.0/24', RESERVED],
  ['192.0.2.0/24', RESERVED],
  ['192.88.99.0/24', RESERVED],
  ['192.168.0.0/16', PRIVATE],
  ['198.18.0.0/15', RESERVED],
  ['198.51.100.0/24', RESERVED],
  ['203.0.113.0/24', RESERVED],
  ['224.0.0.0/4', 'it is for multicast'],
  ['240.0.0.0/4', RESERVED],
])
const CLOSED_6 = table([
  ['::/128', 'it means this machine'],
  ['::1/128', 'it is this machine'],
  ['fe80::/10', 'it is link-local'],
  ['fc00::/7', PRIVATE],
  ['ff00::/8', 'it is for multicast'],
  ['2001::/23', RESERVED],
  ['2001:db8::/32', RESERVED],
  ['2002::/16', 'it is a tunnel to an IPv4 address'],
  ['3fff::/20', RESERVED],
])
const GLOBAL_6: Net = { bytes: [0x20, ...new Array<number>(15).fill(0)], bits: 3 }
/** An IPv4 address in the last four bytes: mapped, and the well-known prefix of NAT64. */
const CARRIES_4 = table([
  ['::ffff:0:0/96', ''],
  ['64:ff9b::/96', ''],
])

/** Why nothing is fetched from there, as the end of a sentence; null: it is public. */
export function closedReason(address: string): string | null {
  const bytes = addressBytes(address)
  if (bytes === null) return 'it is link-local'
  return reasonOf(bytes)
}

function reasonOf(bytes: Bytes): string | null {
  if (bytes.length === 4) return CLOSED_4.find(([net]) => isInside(bytes, net))?.[1] ?? null
  if (CARRIES_4.some(([net]) => isInside(bytes, net))) return reasonOf(bytes.slice(12))
  const known = CLOSED_6.find(([net]) => isInside(bytes, net))?.[1]
  return known ?? (isInside(bytes, GLOBAL_6) ? null : RESERVED)
}
