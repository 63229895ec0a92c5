/**
 * Takes one image out of a compressed file. What comes out is bounded twice: by content (a bomb is measured by how much
 * larger it is than what was brought) and by length, because zeros become holes and cost nothing but time.
 *
 * gzip and zstd are unpacked here, by Node's own zlib; xz and bzip2 by the system's programs, which see nothing but
 * their input and their output.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { findProgram, type ToolSandbox } from '#server/storage/sandbox.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import { growthGuard, growthLimit } from './growth.ts'
import type { Compression } from './inspect.ts'
import { REGULAR_READ } from './library.ts'
import { refuseImage } from './reader.ts'
import { SparseWriter } from './sparse-writer.ts'

export interface UnpackDeps {
  readonly space: SpaceLedger
  readonly sandbox: ToolSandbox
}

interface Packed {
  /** A directory of this image alone. */
  readonly stage: string
  readonly source: string
  readonly method: Compression
  readonly sizeBytes: number
  /** What the caller may still take; null: as much as there is room for. */
  readonly maxBytes: number | null
}

const GiB = 2 ** 30
/** Zeros included: an empty disk of some size compresses to next to nothing. */
const lengthLimit = (bytes: number) => Math.max(64 * GiB, bytes * 2000)
const TIMEOUT_MS = 6 * 3_600_000
const CREATE_NEW = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_RDWR

const bomb = (limitBytes: number) =>
  new EngineError(
    'image_refused',
    `This file unpacks to more than ${Math.floor(limitBytes / 2 ** 20)} MiB, far more than a file of its size should. It was not kept; unpack it yourself and upload the image.`,
  )
const damaged = (method: Compression, cause: unknown) =>
  new EngineError(
    'image_refused',
    `The compressed file (${method}) is damaged or cut off. Download it again from its source.`,
    { cause },
  )

/** @returns path of the file with what was inside @throws EngineError image_refused, no_space; the job's reason */
export function unpack(deps: UnpackDeps, packed: Packed, job: JobContext): Promise<string> {
  const target = join(packed.stage, 'unpacked')
  return job.inQueue('convert', async () => {
    job.step(`Unpacking (${packed.method}).`)
    job.progress(0, packed.sizeBytes)
    const input = await open(packed.source, REGULAR_READ)
    try {
      const output = await open(target, CREATE_NEW, 0o600)
      try {
        if (packed.method === 'gzip' || packed.method === 'zstd') await inProcess(deps, packed, input, output, job)
        else await byProgram(deps, packed, { input, output, target }, job)
      } finally {
        await output.close()
      }
    } finally {
      await input.close()
    }
    return target
  })
}

async function inProcess(
  { space }: UnpackDeps,
  { method, sizeBytes, maxBytes }: Packed,
  input: FileHandle,
  output: FileHandle,
  job: JobContext,
): Promise<void> {
  const source = input.createReadStream({ highWaterMark: 2 ** 20, autoClose: false })
  const inflater =
    method === 'gzip' ? createGunzip({ chunkSize: 2 ** 18 }) : createZstdDecompress({ chunkSize: 2 ** 18 })
  const reservation = await space.reserve(0, 'The unpacked image')
  const writer = new SparseWriter(output, reservation)
  const maxContent = Math.min(growthLimit(sizeBytes), maxBytes ?? Number.POSITIVE_INFINITY)
  const maxLength = lengthLimit(sizeBytes)
  let ours: EngineError | null = null
  try {
    await pipeline(
      source as Readable,
      inflater,
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          await writer.write(chunk)
          if (writer.contentBytes > maxContent) ours = bomb(maxContent)
          if (writer.lengthBytes > maxLength) ours = bomb(maxLength)
          if (ours !== null) throw ours
          job.progress(source.bytesRead, sizeBytes)
        }
      },
      { signal: job.signal },
    )
    await writer.end()
  } catch (error) {
    job.signal.throwIfAborted()
    if (error instanceof EngineError) throw error
    throw spaceError(error) ?? damaged(method, error)
  } finally {
    reservation.release()
  }
}

const PROGRAMS = {
  xz: {
    name: 'xz',
    package: 'xz-utils',
    args: ['--decompress', '--stdout', '--threads=1', '--memlimit-decompress=512MiB'],
  },
  bzip2: { name: 'bzip2', package: 'bzip2', args: ['--decompress', '--stdout'] },
} as const

async function byProgram(
  { space, sandbox }: UnpackDeps,
  { method, sizeBytes, maxBytes }: Packed,
  files: { input: FileHandle; output: FileHandle; target: string },
  job: JobContext,
): Promise<void> {
  const tool = PROGRAMS[method as keyof typeof PROGRAMS]
  const program = findProgram(tool.name)
  if (program === null) {
    return refuseImage(
      `This file is compressed with ${method}, and ${tool.name} is not installed on the host (package ${tool.package}). Install it, or unpack the file and upload the image inside.`,
    )
  }
  const maxContent = Math.min(growthLimit(sizeBytes), maxBytes ?? Number.POSITIVE_INFINITY)
  const maxLength = lengthLimit(sizeBytes)
  const guard = await growthGuard(space, files.target, 'The unpacked image', job.signal, async (bytes) => {
    if (bytes > maxContent) throw bomb(maxContent)
    job.progress(Math.min(sizeBytes, await positionOf(files.input.fd)), sizeBytes)
  })
  try {
    const result = await sandbox.run({
      program,
      args: tool.args,
      readable: [],
      writable: [],
      timeoutMs: TIMEOUT_MS,
      maxFileBytes: maxLength,
      stdinFd: files.input.fd,
      stdoutFd: files.output.fd,
      signal: guard.signal,
    })
    const { size, blocks } = await files.output.stat()
    if (blocks * 512 > maxContent) throw bomb(maxContent)
    if (result.exitCode === 0) return
    if (size >= maxLength || /File too large/.test(result.stderr)) throw bomb(maxLength)
    if (/No space left|quota exceeded/i.test(result.stderr)) throw fullDisk()
    throw damaged(method, new Error(`${tool.name}: ${result.exitCode ?? result.signal}: ${result.stderr.trim()}`))
  } finally {
    guard.release()
  }
}

/** How far the program has read: it shares our file position. 0 when the kernel does not say. */
async function positionOf(fd: number): Promise<number> {
  const info = await readFile(`/proc/self/fdinfo/${fd}`, 'latin1').catch(() => '')
  return Number(/^pos:\s*(\d+)/m.exec(info)?.[1] ?? 0)
}

const fullDisk = (cause?: unknown) =>
  new EngineError('no_space', 'The disk became full while the image was unpacked. Make room and try again.', { cause })

function spaceError(error: unknown): EngineError | null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG' ? fullDisk(error) : null
}
