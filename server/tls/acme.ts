/**
 * A certificate from an ACME authority. Until the first one is there, and whenever the authority cannot be reached, a
 * self-signed one serves: the dashboard never waits for the network.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorCode, writeDurably } from '#server/platform/fs.ts'
import { newAccountKey, orderCertificate } from './acme-client.ts'
import { CertificateError, type CertificateSource, changeList, type KeyPair, readPair } from './certificate.ts'
import { issueSelfSigned, makeRequest } from './issue.ts'
import { selfSigned } from './self-signed.ts'
import { loadPair, savePair } from './stored-pair.ts'

const LOOK_EVERY_MS = 6 * 3_600_000
/** id-pe-acmeIdentifier, RFC 8737 §3. */
const ACME_IDENTIFIER = '1.3.6.1.5.5.7.1.31'
const CHALLENGE_DAYS = 1

export interface AcmeSourceOptions {
  /** Directory of our own, 0700. */
  readonly dir: string
  readonly directory: string
  readonly caFile: string | null
  readonly names: readonly string[]
  readonly contact: string | null
  info(message: string): void
  warn(message: string): void
}

export interface AcmeSource extends CertificateSource {
  /** What the port shows to somebody who speaks `acme-tls/1` for this name; null when nothing is being proved. */
  challenge(): KeyPair | null
  /** Begins to look; the port must listen. */
  begin(): void
}

export async function acmeSource(options: AcmeSourceOptions): Promise<AcmeSource> {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 })
  const file = join(options.dir, 'acme.pem')
  const changes = changeList()
  const fallback = await selfSigned({
    file: join(options.dir, 'self-signed.pem'),
    names: options.names,
    warn: options.warn,
  })
  fallback.onChange((pair) => {
    if (issued === null) changes.tell(pair)
  })
  const stopping = new AbortController()
  let issued = storedFor(file, options)
  let trouble: string | null = null
  let challenge: KeyPair | null = null
  let running: Promise<void> | null = null

  const prove = async (name: string, digest: Buffer) => {
    // An OCTET STRING of 32 bytes.
    const der = Uint8Array.from([0x04, digest.length, ...digest])
    challenge = await issueSelfSigned([name], CHALLENGE_DAYS, [{ oid: ACME_IDENTIFIER, der }])
    return () => {
      challenge = null
    }
  }
  const renew = async () => {
    if (issued !== null && !isDue(issued)) return
    try {
      const { csr, key } = await makeRequest(options.names)
      const acme = {
        directory: options.directory,
        ca: options.caFile === null ? null : readFileSync(options.caFile, 'utf8'),
        accountKey: accountKey(join(options.dir, 'account.pem')),
        contact: options.contact,
        signal: stopping.signal,
      }
      const pair = { cert: await orderCertificate(acme, options.names, csr, prove), key }
      readPair(pair)
      savePair(file, pair)
      issued = pair
      trouble = null
      options.info(`A certificate for ${options.names.join(', ')} was issued by ${new URL(options.directory).host}.`)
      changes.tell(pair)
    } catch (error) {
      if (stopping.signal.aborted) return
      trouble = error instanceof Error ? error.message : String(error)
      options.warn(
        `No certificate by ACME yet: ${trouble} ${issued === null ? 'A self-signed one serves meanwhile.' : 'The present one stays.'} The next attempt is in six hours, or on SIGHUP.`,
      )
    }
  }
  const refresh = () => {
    running ??= renew().finally(() => {
      running = null
    })
    return running
  }
  let timer: NodeJS.Timeout | null = null
  return {
    origin: 'acme',
    current: () => issued ?? fallback.current(),
    trouble: () => trouble,
    challenge: () => challenge,
    refresh,
    begin() {
      void refresh()
      timer = setInterval(() => void refresh(), LOOK_EVERY_MS)
      timer.unref()
    },
    onChange: changes.add,
    close() {
      stopping.abort()
      if (timer !== null) clearInterval(timer)
      fallback.close()
    },
  }
}

/** What is left of it decides: a third of its life, as authorities with short-lived certificates ask for. */
function isDue(pair: KeyPair): boolean {
  const { notBefore, notAfter } = readPair(pair)
  return notAfter.getTime() - Date.now() < (notAfter.getTime() - notBefore.getTime()) / 3
}

/** Null when there is none, it is damaged, or it was for other names. */
function storedFor(file: string, { names, warn }: AcmeSourceOptions): KeyPair | null {
  try {
    const stored = loadPair(file)
    if (stored === null) return null
    const { names: covered, notAfter } = readPair(stored)
    return names.every((name) => covered.includes(name)) && notAfter.getTime() > Date.now() ? stored : null
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error
    warn(`The stored certificate is left aside: ${error.message}`)
    return null
  }
}

function accountKey(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
    const made = newAccountKey()
    writeDurably(file, made)
    return made
  }
}
