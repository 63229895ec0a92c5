/** Every parser on what the real qemu-img made, mangled: it reads or refuses, quickly, and never beyond the file. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { identify } from '../inspect.ts'
import { qemuImg } from '../testing/forge.ts'
import { crc32c } from './crc32c.ts'

/** No parser needs more at once, whatever the file says. */
const MAX_READ = 128 * 1024
const MAX_READS = 100

async function look(bytes: Buffer): Promise<void> {
  let reads = 0
  const reader = {
    sizeBytes: bytes.length,
    async read(offset: number, length: number) {
      reads += 1
      expect(length).toBeLessThanOrEqual(MAX_READ)
      expect(Number.isSafeInteger(offset) && offset >= 0).toBe(true)
      return bytes.subarray(offset, offset + length)
    },
  }
  const found = await identify(reader).catch((error: unknown) => {
    expect(error).toBeInstanceOf(EngineError)
    return null
  })
  expect(reads).toBeLessThan(MAX_READS)
  if (found?.is === 'image') expect(found.facts.virtualSizeBytes).toBeGreaterThan(0)
}

/** Where a format keeps what its parser reads; for VHDX also which blocks carry a checksum. */
const KINDS: readonly {
  format: string
  options: string
  places: readonly [number, number][]
  sealed?: readonly [number, number][]
}[] = [
  { format: 'vmdk', options: 'subformat=monolithicSparse', places: [[0, 1600]] },
  { format: 'vdi', options: 'static=off', places: [[0, 600]] },
  { format: 'vpc', options: 'force_size=on', places: [[0, 1600]] },
  {
    format: 'vhdx',
    options: 'log_size=1M,block_size=1M',
    places: [
      [0, 16],
      [64 * 1024, 96],
      [192 * 1024, 96],
      [2 * 2 ** 20, 300],
      [2 * 2 ** 20 + 65_536, 64],
    ],
    sealed: [
      [64 * 1024, 4096],
      [128 * 1024, 4096],
      [192 * 1024, 65_536],
      [256 * 1024, 65_536],
    ],
  },
  { format: 'qcow2', options: 'compat=1.1', places: [[0, 600]] },
]

it.each(KINDS)('$format', async ({ format, options, places, sealed = [] }) => {
  const dir = mkdtempSync(join(tmpdir(), 'gd-fuzz-'))
  try {
    qemuImg('create', '-q', '-f', format, '-o', options, join(dir, 'x'), '8M')
    const whole = readFileSync(join(dir, 'x'))
    await look(whole)
    for (let length = 0; length < 2000; length += 7) await look(whole.subarray(0, length))
    const place = fc.constantFrom(...places).chain(([at, length]) => fc.tuple(fc.nat(length - 1), fc.constant(at)))
    const change = fc.tuple(place, fc.oneof(fc.nat(255), fc.constantFrom(0, 0xff, 0x80, 0x7f)))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
        const bytes = Buffer.from(whole)
        for (const [[offset, at], value] of changes) if (at + offset < bytes.length) bytes[at + offset] = value
        // With the right checksum, so that what follows it is read at all.
        for (const [at, length] of sealed) {
          const block = bytes.subarray(at, at + length)
          block.writeUInt32LE(0, 4)
          block.writeUInt32LE(crc32c(block), 4)
        }
        await look(bytes)
      }),
      { numRuns: sealed.length > 0 ? 40 : 300 },
    )
  } finally {
    rmSync(dir, { recursive: true })
  }
})
