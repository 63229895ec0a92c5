/**
 * qemu-img with the mistakes taken out: formats are always named (a guest may write any header into its own disk, so
 * probing is never allowed), backing files are never opened when an overlay is made, names are absolute, and every
 * call runs in the tool sandbox.
 */
import { dirname, isAbsolute } from 'node:path'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { findProgram, type ToolSandbox } from './sandbox.ts'

export type DiskFormat = 'raw' | 'qcow2'

const ImageInfo = z.object({
  format: z.string(),
  'virtual-size': z.number().int().nonnegative(),
  'actual-size': z.number().int().nonnegative().optional(),
  'backing-filename': z.string().optional(),
})
interface DiskFileInfo {
  readonly format: string
  readonly virtualSizeBytes: number
  readonly actualSizeBytes: number | null
  readonly backingFile: string | null
}

interface CallOptions {
  readonly signal?: AbortSignal
}

export interface QemuImg {
  /** An empty qcow2 file. @throws EngineError no_space, internal */
  createBlank(path: string, sizeBytes: number, options?: CallOptions): Promise<void>
  /** A qcow2 overlay that names its backing file and format; the backing file is not opened. */
  createOverlay(
    path: string,
    backing: { path: string; format: DiskFormat },
    sizeBytes: number,
    options?: CallOptions,
  ): Promise<void>
  /** A qcow2 copy of a trusted file, for example a firmware's variable template. */
  convertToQcow2(source: string, sourceFormat: DiskFormat, target: string, options?: CallOptions): Promise<void>
  info(path: string, format: DiskFormat, options?: CallOptions): Promise<DiskFileInfo>
}

const CREATE_TIMEOUT_MS = 30_000
const CONVERT_TIMEOUT_MS = 60_000

function assertSafePath(path: string): void {
  // Names come from server/paths.ts and consist of ids; anything else is a bug, not an input error.
  if (!isAbsolute(path) || /[\n\r\0]/.test(path)) throw new Error('qemu-img needs absolute plain paths')
}

export function createQemuImg(sandbox: ToolSandbox, program = findProgram('qemu-img')): QemuImg {
  const call = async (
    what: string,
    args: readonly string[],
    dirs: { readable: readonly string[]; writable: readonly string[] },
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<string> => {
    if (program === null) {
      throw new EngineError(
        'internal',
        'qemu-img is not installed, so no disk can be made. Install it from the host page.',
      )
    }
    const result = await sandbox.run({
      program,
      args,
      ...dirs,
      timeoutMs,
      maxFileBytes: null,
      ...(signal && { signal }),
    })
    if (result.exitCode === 0) return result.stdout
    const detail = result.stderr.trim().split('\n').at(-1) ?? ''
    const cause = new Error(`qemu-img ${args[0]}: exit ${result.exitCode ?? result.signal}: ${result.stderr.trim()}`)
    if (/No space left on device|Disk quota exceeded/.test(detail)) {
      throw new EngineError('no_space', `${what} failed: the disk is full. Delete images or VMs and try again.`, {
        cause,
      })
    }
    if (result.signal !== null) {
      throw new EngineError('internal', `${what} was stopped after ${timeoutMs / 1000} seconds or by its limits.`, {
        cause,
      })
    }
    throw new EngineError('internal', `${what} failed; the server's log has qemu-img's own message.`, { cause })
  }

  return {
    async createBlank(path, sizeBytes, options = {}) {
      assertSafePath(path)
      await call(
        'Creating a disk',
        ['create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=off', '--', path, String(sizeBytes)],
        { readable: [], writable: [dirname(path)] },
        CREATE_TIMEOUT_MS,
        options.signal,
      )
    },
    async createOverlay(path, backing, sizeBytes, options = {}) {
      assertSafePath(path)
      assertSafePath(backing.path)
      await call(
        'Creating a disk on an image',
        ['create', '-q', '-f', 'qcow2', '-u', '-b', backing.path, '-F', backing.format, '--', path, String(sizeBytes)],
        { readable: [], writable: [dirname(path)] },
        CREATE_TIMEOUT_MS,
        options.signal,
      )
    },
    async convertToQcow2(source, sourceFormat, target, options = {}) {
      assertSafePath(source)
      assertSafePath(target)
      await call(
        'Copying the firmware’s variables',
        ['convert', '-q', '-t', 'writeback', '-f', sourceFormat, '-O', 'qcow2', '--', source, target],
        { readable: [source], writable: [dirname(target)] },
        CONVERT_TIMEOUT_MS,
        options.signal,
      )
    },
    async info(path, format, options = {}) {
      assertSafePath(path)
      const text = await call(
        'Reading a disk',
        ['info', '-U', '--output=json', '-f', format, '--', path],
        { readable: [path], writable: [] },
        CREATE_TIMEOUT_MS,
        options.signal,
      )
      const parsed = ImageInfo.parse(JSON.parse(text))
      return {
        format: parsed.format,
        virtualSizeBytes: parsed['virtual-size'],
        actualSizeBytes: parsed['actual-size'] ?? null,
        backingFile: parsed['backing-filename'] ?? null,
      }
    },
  }
}
