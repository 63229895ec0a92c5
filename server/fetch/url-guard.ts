/**
 * What may be fetched on behalf of somebody: http and https, no credentials in the address, and only from machines that
 * are public or that the operator named. A name is resolved once, every address it has is judged, and the connection
 * goes to one of those addresses and nowhere else, so that a name cannot change its mind in between.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { EngineError } from '#server/engine/errors.ts'
import { addressBytes, closedReason, isInside, parseNet } from './addresses.ts'

const URL_MAX = 4096

export interface VettedUrl {
  readonly url: URL
  /** All judged and open; the connection goes to one of them. */
  readonly addresses: readonly { readonly address: string; readonly family: 4 | 6 }[]
}

export type Resolve = (hostname: string) => Promise<readonly string[]>

export interface AllowList {
  /** Whether the operator opened a name (with or without port) for downloads. */
  host(hostname: string, port: number): boolean
  address(address: string, port: number): boolean
}

/**
 * `GUESTDECK_DOWNLOAD_ALLOW`: host names, addresses, networks in CIDR form; names and addresses may end in `:port`.
 * @throws Error naming the entry at fault
 */
export function parseAllowList(entries: readonly string[]): AllowList {
  const hosts = new Set<string>()
  const nets: { net: NonNullable<ReturnType<typeof parseNet>>; port: number | null }[] = []
  for (const entry of entries) {
    const net = parseNet(entry)
    if (net !== null) {
      nets.push({ net, port: null })
      continue
    }
    const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?$/i.exec(entry)
    const name = match?.[1] ?? match?.[2]
    if (match === null || name === undefined) throw new Error(`${JSON.stringify(entry)} is no host, address or network`)
    const port = match[3] === undefined ? null : Number(match[3])
    const own = parseNet(name)
    if (own !== null) nets.push({ net: own, port })
    else hosts.add(port === null ? name.toLowerCase() : `${name.toLowerCase()}:${port}`)
  }
  return {
    host: (hostname, port) => hosts.has(hostname.toLowerCase()) || hosts.has(`${hostname.toLowerCase()}:${port}`),
    address(address, port) {
      const bytes = addressBytes(address)
      return bytes !== null && nets.some((open) => (open.port ?? port) === port && isInside(bytes, open.net))
    },
  }
}

/** Without credentials, query and fragment: for people, logs and the library. Never throws. */
export function shownUrl(raw: string | URL): string {
  try {
    const { protocol, host, pathname } = new URL(raw)
    return `${protocol}//${host}${pathname}`.replace(/[\p{C}]/gu, '').slice(0, 1024)
  } catch {
    return 'an address'
  }
}

/** @param field of the request that holds it @throws EngineError bad_input; its message never repeats the address */
export function parseSource(raw: string, field: string): URL {
  const refuse = (message: string): never => {
    throw new EngineError('bad_input', message, { field })
  }
  if (raw.length > URL_MAX) return refuse(`The address is longer than ${URL_MAX} characters.`)
  let url: URL
  try {
    url = new URL(raw)
  } catch {
    return refuse('This is not a web address. Give it in full, beginning with https:// or http://.')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return refuse('Only http:// and https:// addresses can be downloaded.')
  }
  if (url.username !== '' || url.password !== '') {
    return refuse('The address contains a user name or password, which is refused: addresses end up in logs.')
  }
  url.hash = ''
  return url
}

export const portOf = (url: URL): number =>
  url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)

const resolveHost: Resolve = async (hostname) => (await lookup(hostname, { all: true })).map(({ address }) => address)

/**
 * @throws EngineError blocked_address, bad_input (the name does not resolve)
 */
export async function vet(url: URL, allow: AllowList, resolve: Resolve = resolveHost): Promise<VettedUrl> {
  const hostname = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const port = portOf(url)
  let found: readonly string[]
  if (isIP(hostname) !== 0) found = [hostname]
  // By definition (RFC 6761), whatever a resolver says.
  else if (/(^|\.)localhost$/.test(hostname)) found = ['127.0.0.1', '::1']
  else {
    try {
      found = await resolve(hostname)
    } catch (error) {
      throw unknownHost(hostname, error)
    }
  }
  if (found.length === 0) throw unknownHost(hostname)
  if (!allow.host(hostname, port)) {
    for (const address of found) {
      if (allow.address(address, port)) continue
      const reason = closedReason(address)
      if (reason === null) continue
      throw new EngineError(
        'blocked_address',
        `${hostname} is not downloaded from: ${reason}. An administrator can open it with GUESTDECK_DOWNLOAD_ALLOW.`,
        { field: 'url' },
      )
    }
  }
  return { url, addresses: found.map((address) => ({ address, family: isIP(address) === 6 ? 6 : 4 })) }
}

const unknownHost = (hostname: string, cause?: unknown) =>
  new EngineError('bad_input', `The name ${hostname.slice(0, 253)} cannot be resolved from this host.`, {
    field: 'url',
    cause,
  })
