/** The dashboard's own certificate: where it comes from, what it says, and how a new one takes over. */
import { createPrivateKey, X509Certificate } from 'node:crypto'

/** PEM. The chain begins with the certificate of the server itself. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

export interface CertificateFacts {
  /** DNS names and addresses it is valid for. */
  readonly names: readonly string[]
  readonly issuer: string
  readonly selfSigned: boolean
  /** SHA-256 of the certificate, as browsers show it: `AB:CD:…`. */
  readonly fingerprint: string
  readonly notBefore: Date
  readonly notAfter: Date
}

export type CertificateOrigin = 'self-signed' | 'files' | 'acme'

export interface CertificateSource {
  readonly origin: CertificateOrigin
  current(): KeyPair
  /** Why the last look or renewal failed while an older certificate goes on; null when all is well. */
  trouble(): string | null
  /** Looks for a newer one at once; the periodic look goes on beside it. */
  refresh(): Promise<void>
  onChange(listener: (pair: KeyPair) => void): void
  close(): void
}

/** For the operator: shown as one line, without a stack. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
}

const message = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** @throws CertificateError when it is no certificate, or the key is another's */
export function readPair({ cert, key }: KeyPair): CertificateFacts {
  let parsed: X509Certificate
  try {
    parsed = new X509Certificate(cert)
  } catch (error) {
    throw new CertificateError(`The certificate is not PEM: ${message(error)}.`)
  }
  let isOurs: boolean
  try {
    isOurs = parsed.checkPrivateKey(createPrivateKey(key))
  } catch (error) {
    throw new CertificateError(`The private key cannot be read: ${message(error)}. It must be PEM, without a password.`)
  }
  if (!isOurs) throw new CertificateError('The private key does not belong to the certificate.')
  return {
    names: namesOf(parsed.subjectAltName),
    issuer: parsed.issuer.split('\n').join(', '),
    selfSigned: parsed.issuer === parsed.subject && parsed.verify(parsed.publicKey),
    fingerprint: parsed.fingerprint256,
    notBefore: new Date(parsed.validFrom),
    notAfter: new Date(parsed.validTo),
  }
}

/** `DNS:a, IP Address:0:0:0:0:0:0:0:1` → `['a', '0:0:0:0:0:0:0:1']`. */
function namesOf(subjectAltName: string | undefined): string[] {
  return [...(subjectAltName ?? '').matchAll(/(?:DNS|IP Address):([^,\s"]+)/g)].map(([, name = '']) => name)
}

/** Keeps who wants to know; one that fails does not keep the others from it. */
export function changeList(): { tell(pair: KeyPair): void; add(listener: (pair: KeyPair) => void): void } {
  const listeners: ((pair: KeyPair) => void)[] = []
  return {
    tell: (pair) => {
      for (const listener of listeners) listener(pair)
    },
    add: (listener) => listeners.push(listener),
  }
}
