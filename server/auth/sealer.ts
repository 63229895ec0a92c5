/**
 * Secrets that must be read again (of a TOTP app, of an OpenID client, of the directory) lie sealed in the database,
 * with AES-256-GCM and a key in a file beside it: a copy of the database alone gives none of them away.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { writeDurably } from '#server/platform/fs.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

export interface Sealer {
  /** @param purpose bound to the secret: sealed for one, it opens for no other */
  seal(secret: string, purpose: string): string
  /** Null when it was sealed with another key or for another purpose. */
  open(sealed: string, purpose: string): string | null
}

export function createSealer(key: Buffer): Sealer {
  return {
    seal(secret, purpose) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(purpose))
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url')
    },
    open(sealed, purpose) {
      const bytes = Buffer.from(sealed, 'base64url')
      if (bytes.length < NONCE_BYTES + TAG_BYTES) return null
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES))
          .setAAD(Buffer.from(purpose))
          .setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
        return decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        return null
      }
    },
  }
}

/**
 * With the key of the data directory, which is made the first time; called under the dashboard's lock.
 * @throws Error when the file is there but is no key
 */
export function openSealer(keyFile: string): Sealer {
  if (!existsSync(keyFile)) writeDurably(keyFile, `${randomBytes(KEY_BYTES).toString('hex')}\n`)
  const text = readFileSync(keyFile, 'utf8').trim()
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new Error(`${keyFile} is damaged. Restore it from a backup, or remove it and set up second factors anew.`)
  }
  return createSealer(Buffer.from(text, 'hex'))
}
