/** A certificate of our own making: the connection is encrypted, and its fingerprint says that it is ours. */
import { CertificateError, type CertificateSource, changeList, type KeyPair, readPair } from './certificate.ts'
import { issueSelfSigned } from './issue.ts'
import { loadPair, savePair } from './stored-pair.ts'

/** What browsers accept at most of certificates that are trusted by hand (Apple's limit is the strictest). */
const DAYS = 820
const RENEW_BEFORE_MS = 60 * 86_400_000
const LOOK_EVERY_MS = 12 * 3_600_000

export interface SelfSignedOptions {
  /** Where the pair is kept. */
  readonly file: string
  /** Names and addresses the dashboard is called by; a new one makes a new certificate. */
  readonly names: readonly string[]
  /** Named in a new certificate, but no reason for one. */
  readonly alsoNames?: readonly string[]
  warn(message: string): void
}

export async function selfSigned(options: SelfSignedOptions): Promise<CertificateSource> {
  const changes = changeList()
  let pair = await kept(options)
  const refresh = async () => {
    const next = await kept(options)
    if (next.cert === pair.cert) return
    pair = next
    changes.tell(pair)
  }
  const timer = setInterval(() => {
    refresh().catch((error: unknown) => options.warn(`The self-signed certificate could not be renewed: ${error}`))
  }, LOOK_EVERY_MS)
  timer.unref()
  return {
    origin: 'self-signed',
    current: () => pair,
    trouble: () => null,
    refresh,
    onChange: changes.add,
    close: () => clearInterval(timer),
  }
}

async function kept({ file, names, alsoNames = [], warn }: SelfSignedOptions): Promise<KeyPair> {
  try {
    const stored = loadPair(file)
    if (stored !== null) {
      const facts = readPair(stored)
      const covers = names.every((name) => facts.names.some((known) => sameName(known, name)))
      if (covers && facts.notAfter.getTime() - Date.now() > RENEW_BEFORE_MS) return stored
    }
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error
    warn(`The stored certificate is replaced: ${error.message}`)
  }
  const made = await issueSelfSigned([...new Set([...names, ...alsoNames])], DAYS)
  savePair(file, made)
  return made
}

/** OpenSSL writes IPv6 addresses out in full. */
const canonical = (name: string) => (name.includes(':') ? new URL(`http://[${name}]`).hostname : name.toLowerCase())
const sameName = (a: string, b: string) => canonical(a) === canonical(b)
