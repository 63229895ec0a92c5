/** Where a request comes from, when reverse proxies that the operator named stand in between. */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'

/** Hops looked at; a longer list is somebody's joke. */
const HOPS_MAX = 16

export interface ProxyPolicy {
  /** Whether anybody is trusted at all. */
  readonly any: boolean
  trusts(address: string): boolean
}

/** `::ffff:192.0.2.1` is 192.0.2.1. */
const plainAddress = (address: string) => address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')

/**
 * @param entries addresses and networks, `192.0.2.7` or `10.0.0.0/8`
 * @throws RangeError naming the entry that is neither
 */
export function createProxyPolicy(entries: readonly string[]): ProxyPolicy {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits, ...rest] = entry.split('/')
    const family = isIP(address)
    const prefix = bits === undefined ? null : Number(bits)
    const fits = prefix === null || (/^\d{1,3}$/.test(bits ?? '') && prefix <= (family === 4 ? 32 : 128))
    if (family === 0 || rest.length > 0 || !fits) throw new RangeError(`${entry} is no address and no network`)
    const type = family === 4 ? 'ipv4' : 'ipv6'
    if (prefix === null) list.addAddress(address, type)
    else list.addSubnet(address, prefix, type)
  }
  return {
    any: entries.length > 0,
    trusts(address) {
      const plain = plainAddress(address)
      const family = isIP(plain)
      return family !== 0 && list.check(plain, family === 4 ? 'ipv4' : 'ipv6')
    },
  }
}

/**
 * The address nearest to us that no trusted proxy has. `X-Forwarded-For` is read from its end, because whatever
 * stands before the first untrusted hop was written by that hop.
 */
export function clientAddress(request: IncomingMessage, proxies: ProxyPolicy): string {
  const peer = plainAddress(request.socket.remoteAddress ?? 'unknown')
  if (!proxies.trusts(peer)) return peer
  const hops = (request.headersDistinct['x-forwarded-for'] ?? []).join(',').split(',').slice(-HOPS_MAX)
  let client = peer
  for (const hop of hops.reverse()) {
    const address = plainAddress(hop.trim())
    if (isIP(address) === 0) break
    client = address
    if (!proxies.trusts(address)) break
  }
  return client
}

/** What a trusted proxy says of the browser's side of it; null: nothing, or it is not trusted. */
export function forwardedScheme(request: IncomingMessage, proxies: ProxyPolicy): 'http' | 'https' | null {
  if (!proxies.trusts(request.socket.remoteAddress ?? '')) return null
  const said = request.headersDistinct['x-forwarded-proto']?.at(-1)?.split(',').at(-1)?.trim().toLowerCase()
  return said === 'http' || said === 'https' ? said : null
}
