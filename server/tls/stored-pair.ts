/** A key pair of our own in the data directory: one file, so that key and certificate are never of two ages. */
import { readFileSync } from 'node:fs'
import { errorCode, writeDurably } from '#server/platform/fs.ts'
import { CertificateError, type KeyPair, readPair } from './certificate.ts'

const KEY = /-----BEGIN (?:EC )?PRIVATE KEY-----[\s\S]+?-----END (?:EC )?PRIVATE KEY-----\n?/

/** Null when there is none yet. @throws CertificateError when it is damaged */
export function loadPair(file: string): KeyPair | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null
    throw new CertificateError(`${file} cannot be read (${errorCode(error) ?? 'unknown'}).`)
  }
  const key = KEY.exec(text)?.[0] ?? ''
  const pair = { key, cert: text.replace(KEY, '') }
  readPair(pair)
  return pair
}

/** 0600, on disk when it returns. */
export const savePair = (file: string, { cert, key }: KeyPair): void =>
  writeDurably(file, `${key.trimEnd()}\n${cert.trimEnd()}\n`)
