/** From the configuration to a certificate source, and what to say about it. */
import { mkdirSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { Connection } from '#lib/schema/host.ts'
import { CertificateError, type CertificateSource, type KeyPair, readPair } from './certificate.ts'
import { certificateFiles } from './files.ts'

const EXPIRES_SOON_MS = 14 * 86_400_000

export interface TlsSettings {
  readonly host: string
  readonly tls: 'off' | 'self-signed' | 'files' | 'acme'
  readonly tlsCert: string | null
  readonly tlsKey: string | null
  readonly tlsNames: readonly string[]
  readonly allowedHosts: readonly string[]
  readonly acmeDirectory: string
  readonly acmeCaFile: string | null
  readonly acmeContact: string | null
}

export interface OpenCertificate extends CertificateSource {
  challenge(): KeyPair | null
  /** To be called once the port listens. */
  begin(): void
}

interface Told {
  info(message: string): void
  warn(message: string): void
}

/** Null: plain HTTP. @throws CertificateError when the operator's files cannot be used */
export async function openCertificate(settings: TlsSettings, dir: string, told: Told): Promise<OpenCertificate | null> {
  const { tls } = settings
  if (tls === 'off') return null
  if (tls === 'files') {
    const { tlsCert: cert, tlsKey: key } = settings
    if (cert === null || key === null) throw new CertificateError('A certificate needs two files.')
    return passive(await certificateFiles({ cert, key, warn: told.warn }))
  }
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  if (tls === 'acme') {
    const { acmeDirectory: directory, acmeCaFile: caFile, acmeContact: contact, tlsNames: names } = settings
    const { acmeSource } = await import('./acme.ts')
    return acmeSource({ dir, directory, caFile, contact, names, ...told })
  }
  // Only now: what makes certificates takes a while to load.
  const { selfSigned } = await import('./self-signed.ts')
  const names = settings.tlsNames.length > 0 ? settings.tlsNames : ownNames(settings)
  return passive(
    await selfSigned({ file: join(dir, 'self-signed.pem'), names, alsoNames: ownAddresses(), warn: told.warn }),
  )
}

const passive = (source: CertificateSource): OpenCertificate => ({ ...source, challenge: () => null, begin: () => {} })

function ownNames({ allowedHosts, host }: TlsSettings): string[] {
  const isAny = host === '0.0.0.0' || host === '::'
  const named = hostname().toLowerCase()
  return [
    ...new Set([
      'localhost',
      ...(/^[a-z0-9.-]+$/.test(named) ? [named] : []),
      ...allowedHosts,
      ...(isAny ? [] : [host]),
    ]),
  ]
}

/** They change with the network, so that a missing one is no reason for another certificate. */
function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address).filter((address) => !address.startsWith('fe80:')),
  )
}

/** @param isLoopback whether the address listened on is one of this machine alone */
export function describeConnection(
  settings: Pick<TlsSettings, 'host'> & { readonly trustedProxies: readonly string[]; readonly insecureHttp: boolean },
  isLoopback: boolean,
  source: CertificateSource | null,
): Connection {
  if (source !== null) return describeTls(source, isLoopback)
  const plain = { scheme: 'http', certificate: null } as const
  if (isLoopback) {
    const summary =
      'Plain HTTP on this machine alone: nothing crosses a network. For other machines use an SSH tunnel, --tls, or a reverse proxy.'
    return { ...plain, reach: 'loopback', state: 'ok', summary }
  }
  if (!settings.insecureHttp && settings.trustedProxies.length > 0) {
    const summary = `Plain HTTP, and only for the reverse proxies ${settings.trustedProxies.join(', ')} and this machine. The proxy is where TLS ends.`
    return { ...plain, reach: 'proxy', state: 'ok', summary }
  }
  const summary =
    'Plain HTTP on the network: whoever listens there reads passwords, cookies and screens. Serve HTTPS with --tls self-signed or a certificate of your own.'
  return { ...plain, reach: 'network', state: 'failed', summary }
}

function describeTls(source: CertificateSource, isLoopback: boolean): Connection {
  const facts = readPair(source.current())
  const left = facts.notAfter.getTime() - Date.now()
  const trouble = source.trouble()
  const certificate = {
    origin: source.origin,
    names: [...facts.names],
    issuer: facts.issuer,
    selfSigned: facts.selfSigned,
    fingerprint: facts.fingerprint,
    expiresAt: facts.notAfter.toISOString(),
  }
  const base = { scheme: 'https', reach: isLoopback ? 'loopback' : 'network', certificate } as const
  if (left <= 0) {
    return {
      ...base,
      state: 'failed',
      summary: `The certificate has expired. ${trouble ?? 'Renew it; it is taken without a restart.'}`,
    }
  }
  if (trouble !== null) return { ...base, state: 'warning', summary: `${trouble} The present certificate goes on.` }
  if (left < EXPIRES_SOON_MS && source.origin === 'files') {
    const days = Math.ceil(left / 86_400_000)
    return {
      ...base,
      state: 'warning',
      summary: `The certificate expires in ${days} days. A renewed one is taken without a restart.`,
    }
  }
  const summary = facts.selfSigned
    ? 'HTTPS with a certificate of its own making: browsers warn once. Compare the fingerprint before you accept it.'
    : 'HTTPS.'
  return { ...base, state: 'ok', summary }
}
