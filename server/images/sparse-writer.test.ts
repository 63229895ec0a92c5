import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SparseWriter } from './sparse-writer.ts'

const free = { consume() {}, extend: async () => {}, release() {} }

async function written(chunks: Buffer[]): Promise<{ bytes: Buffer; blocks: number; content: number }> {
  const dir = mkdtempSync(join(tmpdir(), 'gd-sparse-'))
  const path = join(dir, 'f')
  try {
    const handle = await open(path, 'wx')
    const writer = new SparseWriter(handle, free)
    for (const chunk of chunks) await writer.write(chunk)
    expect(writer.lengthBytes).toBe(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
    await writer.end()
    await handle.close()
    return { bytes: readFileSync(path), blocks: statSync(path).blocks, content: writer.contentBytes }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

it('whatever pieces come, the file holds exactly their bytes', async () => {
  const piece = fc.record({ length: fc.integer({ min: 0, max: 200_000 }), fill: fc.constantFrom(0, 0, 0, 7) })
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
      const chunks = pieces.map(({ length, fill }) => Buffer.alloc(length, fill))
      expect((await written(chunks)).bytes.equals(Buffer.concat(chunks))).toBe(true)
    }),
    { numRuns: 40 },
  )
})

it('zeros become holes', async () => {
  const { bytes, blocks, content } = await written([
    Buffer.alloc(8 * 2 ** 20),
    Buffer.alloc(65_536, 1),
    Buffer.alloc(8 * 2 ** 20),
  ])
  expect(bytes.length).toBe(16 * 2 ** 20 + 65_536)
  expect(content).toBe(65_536)
  expect(blocks * 512).toBeLessThan(2 ** 20)
})
