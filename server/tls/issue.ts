/** Keys, self-signed certificates and signing requests, ECDSA on P-256 with SHA-256. */
// The library's dependency injection needs it, and it must be there first.
import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { KeyPair } from './certificate.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' }
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' }
const DAY_MS = 86_400_000

const newKeys = () => crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])

async function privatePem(keys: CryptoKeyPair): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
}

const altNames = (names: readonly string[]) =>
  new SubjectAlternativeNameExtension(
    names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
  )

/** RFC 5280 §4.1.2.2: positive, at most 20 octets. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}

/** A certificate that vouches for itself. `extra`: further extensions, as DER by their object identifier. */
export async function issueSelfSigned(
  names: readonly string[],
  days: number,
  extra: readonly { oid: string; der: Uint8Array<ArrayBuffer> }[] = [],
): Promise<KeyPair> {
  const keys = await newKeys()
  const now = Date.now()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: ['Guestdeck'] }, { OU: [serialNumber().slice(0, 8)] }],
    // Clocks differ; a certificate from the future is refused.
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + days * DAY_MS),
    keys,
    signingAlgorithm: SIGNATURE,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      altNames(names),
      ...extra.map(({ oid, der }) => new Extension(oid, true, der)),
    ],
  })
  return { cert: `${certificate.toString('pem')}\n`, key: await privatePem(keys) }
}

/** A new key and the request (PKCS #10, DER) for a certificate of it. */
export async function makeRequest(names: readonly string[]): Promise<{ csr: Buffer; key: string }> {
  const keys = await newKeys()
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: SIGNATURE,
    extensions: [altNames(names)],
  })
  return { csr: Buffer.from(request.rawData), key: await privatePem(keys) }
}
