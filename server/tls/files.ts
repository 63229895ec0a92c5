/**
 * A certificate the operator keeps in two files, for example by certbot. They are looked at every half minute and on
 * SIGHUP; a pair that does not fit is not taken, so that a renewal seen half-way does no harm.
 */
import { rootActs } from '#server/launcher/acts.ts'
import { errorCode } from '#server/platform/fs.ts'
import { CertificateError, type CertificateSource, changeList, type KeyPair, readPair } from './certificate.ts'

const LOOK_EVERY_MS = 30_000

export interface CertificateFiles {
  readonly cert: string
  readonly key: string
  warn(message: string): void
}

/** @throws CertificateError when there is no usable pair to begin with */
export async function certificateFiles(files: CertificateFiles): Promise<CertificateSource> {
  const changes = changeList()
  let pair = await read(files)
  let trouble: string | null = null
  const refresh = async () => {
    try {
      const next = await read(files)
      trouble = null
      if (next.cert === pair.cert && next.key === pair.key) return
      pair = next
      changes.tell(pair)
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error
      // Said once, not every half minute.
      if (trouble !== error.message) files.warn(`The certificate in use stays: ${error.message}`)
      trouble = error.message
    }
  }
  const timer = setInterval(() => void refresh(), LOOK_EVERY_MS)
  timer.unref()
  return {
    origin: 'files',
    current: () => pair,
    trouble: () => trouble,
    refresh,
    onChange: changes.add,
    close: () => clearInterval(timer),
  }
}

async function read({ cert, key }: CertificateFiles): Promise<KeyPair> {
  const pair = await rootActs()
    .readCertificate({ cert, key })
    .catch((error: unknown) => {
      const file = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : cert
      throw new CertificateError(`${file} cannot be read (${errorCode(error) ?? 'unknown'}).`)
    })
  readPair(pair)
  return pair
}
