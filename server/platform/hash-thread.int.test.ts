/** Checksums made in a thread, against the same made by Node at once. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashFile, StreamHash, sha256OfFile } from './hash-thread.ts'

const MIB = 2 ** 20
let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gd-hash-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const never = new AbortController().signal
const of = (algorithm: string, bytes: Uint8Array) => createHash(algorithm).update(bytes).digest('hex')

test.each([
  ['nothing', 0],
  ['a stream too small for a thread', 3 * MIB + 5],
  ['a stream that fills the thread several times', 41 * MIB + 1],
])('%s has the checksums that its bytes have', async (_what, size) => {
  const bytes = randomBytes(size)
  const hash = new StreamHash(['sha256', 'sha512'])
  try {
    for (let at = 0; at < size; at += MIB) {
      const end = Math.min(size, at + MIB)
      // Views of one memory, chunks that own theirs, and an empty one.
      await hash.update([bytes.subarray(at, at + 7), Uint8Array.from(bytes.subarray(at + 7, end)), new Uint8Array(0)])
    }
    expect(await hash.digests()).toEqual({ sha256: of('sha256', bytes), sha512: of('sha512', bytes) })
  } finally {
    hash.end()
  }
})

test('chunks that own their memory are empty afterwards, and what shares its memory stays whole', async () => {
  const hash = new StreamHash(['sha256'])
  try {
    const own = new Uint8Array(8 * MIB).fill(1)
    const shared = Buffer.alloc(2 * MIB, 2).subarray(MIB)
    await hash.update([own, shared])
    expect(own.byteLength).toBe(0)
    expect(shared.equals(Buffer.alloc(MIB, 2))).toBe(true)
  } finally {
    hash.end()
  }
})

test('a stream whose thread has ended says so, and does not wait for ever', async () => {
  const hash = new StreamHash(['sha256'])
  await hash.update([new Uint8Array(5 * MIB)])
  hash.end()
  await expect(hash.digests()).rejects.toThrow('the checksum thread ended')
})

test('a file has the checksum of its bytes, with progress; a link to it is not followed, a missing one is an error', async () => {
  const bytes = randomBytes(65 * MIB)
  const path = join(dir, 'file')
  await writeFile(path, bytes)
  const seen: number[] = []
  expect(await hashFile(path, ['sha256', 'sha512'], never, (done) => seen.push(done))).toEqual({
    digests: { sha256: of('sha256', bytes), sha512: of('sha512', bytes) },
    sizeBytes: bytes.length,
  })
  expect(seen).toEqual([64 * MIB])
  await symlink(path, join(dir, 'link'))
  await expect(sha256OfFile(join(dir, 'link'), never)).rejects.toMatchObject({ code: 'ELOOP' })
  await expect(sha256OfFile(join(dir, 'gone'), never)).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(sha256OfFile(dir, never)).rejects.toThrow('not a plain file')
  await expect(sha256OfFile(path, AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up')
})
