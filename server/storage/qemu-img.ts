/**
 * qemu-img with the mistakes taken out: formats are always named (a guest may write any header into its own disk, so
 * probing is never allowed), backing files are never opened when an overlay is made, names are absolute, and every
 * call runs in the tool sandbox.
 */
import { dirname } from 'node:path'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { type ChainFile, type DiskFormat, dottedNode, nodeName } from './chain-node.ts'
import { assertSafePath, createQemuImgCall, importFailure, lastProgress } from './qemu-img-call.ts'
import { findProgram, type ToolSandbox, type ToolUser } from './sandbox.ts'

/** What a copy may be made from, once our own parser has accepted its header. */
export type SourceFormat = DiskFormat | 'vmdk' | 'vhdx' | 'vdi' | 'vpc'

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
  /** Owner of the files, where that is a guest's user. */
  readonly user?: ToolUser | null
}

interface ConvertOptions extends CallOptions {
  /** The copy may not grow beyond this. */
  readonly maxBytes: number
  /** 0 to 1. */
  readonly onProgress: (part: number) => void
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
  /**
   * A fresh qcow2 file with the content of an image that somebody brought. The source is readable alone in the
   * sandbox, the target's directory writable: give it one of its own.
   * @throws EngineError no_space, image_refused (unreadable, or larger than `maxBytes`); the signal's reason
   */
  importDisk(source: string, format: SourceFormat, target: string, options: ConvertOptions): Promise<void>
  info(path: string, format: DiskFormat, options?: CallOptions): Promise<DiskFileInfo>
  /** Tags of the snapshots inside a qcow2 file that nobody has open. */
  tags(path: string, options?: CallOptions): Promise<string[]>
  /** Takes, goes back to, or deletes a snapshot inside a qcow2 file that nobody has open. Its backing file is not opened. */
  snapshot(action: 'create' | 'apply' | 'delete', path: string, tag: string, options?: CallOptions): Promise<void>
  /**
   * Writes what the first file of a chain holds into the second; the first stays as it is. Nobody may have either open.
   * @param chain top first, whole
   */
  commit(chain: readonly ChainFile[], options?: CallOptions): Promise<void>
  /**
   * An empty disk file of a backup. `below` is what it stands on, relative to its own directory: for people with
   * qemu-img alone; nothing opens it.
   */
  createBackupFile(
    path: string,
    file: { sizeBytes: number; compression: 'none' | 'zstd'; below: string | null },
    options?: CallOptions,
  ): Promise<void>
  /** As `renameBacking`, for a file of a backup and a name relative to its folder. */
  renameBackupBacking(path: string, below: string | null, options?: CallOptions): Promise<void>
  /** Whether the structure of a qcow2 file is sound. What it stands on is not opened. @returns what is wrong; null: nothing */
  check(path: string, options?: CallOptions): Promise<string | null>
  /**
   * Copies what a chain shows into an empty qcow2 file, which must be there. Nobody may write the chain meanwhile.
   * @param chain top first, whole
   * @param tag a snapshot inside the first file instead of its present content
   * @throws EngineError no_space, internal; the signal's reason
   */
  flatten(
    chain: readonly ChainFile[],
    target: string,
    options: CallOptions & { readonly tag?: string; readonly onProgress: (part: number) => void },
  ): Promise<void>
  /**
   * Copies into a fresh, empty file that exists what a chain shows, or, where that file has a base, what the chain's top
   * alone holds.
   * @param chain top first, whole @throws EngineError no_space, in_use, internal; the signal's reason
   */
  copyChain(chain: readonly ChainFile[], target: CopyTarget, options: CopyOptions): Promise<void>
  /** Makes a disk larger; never smaller. Nobody may have it open. What it stands on is not opened. */
  grow(file: ChainFile, sizeBytes: number, options?: CallOptions): Promise<void>
  /** Changes the name of the file below in the header, and nothing else: for those who look with qemu-img alone. */
  renameBacking(path: string, backing: ChainFile | null, options?: CallOptions): Promise<void>
}

export interface CopyTarget extends ChainFile {
  /** What the target stands on, top first; empty: nothing. */
  readonly base: readonly ChainFile[]
}

interface CopyOptions extends CallOptions {
  /** Takes along the dirty bitmaps of the chain's top, those that are sound; both files are qcow2. */
  readonly keepBitmaps?: boolean
  /** Null or left out: as fast as it goes. */
  readonly limitMiBps?: number | null
  /** 0 to 1. */
  readonly onProgress: (part: number) => void
}

const Bitmaps = z.object({
  'format-specific': z
    .object({ data: z.object({ bitmaps: z.array(z.object({ name: z.string() })).default([]) }) })
    .optional(),
})
const Tags = z.object({ snapshots: z.array(z.object({ name: z.string() })).default([]) })

/** Tags that snapshots of ours have. */
const TAG = /^gd-[0-9a-f-]{36}$/
const CREATE_TIMEOUT_MS = 30_000
/** A snapshot copies tables and counts clusters: seconds for terabytes. */
const SNAPSHOT_TIMEOUT_MS = 600_000
/** Copying a layer into the one below; a stuck disk must end it some day. */
const COMMIT_TIMEOUT_MS = 12 * 3_600_000
/** Reads the tables of the whole file. */
const CHECK_TIMEOUT_MS = 3_600_000
const CONVERT_TIMEOUT_MS = 60_000
/** Without any progress for so long, a conversion is given up. */
const IMPORT_STALL_MS = 10 * 60_000
/** Whatever happens, nothing runs longer. */
const IMPORT_TIMEOUT_MS = 48 * 3_600_000
/** A file of another backup of the same VM, from within a backup's folder. */
const BACKUP_FILE = /^\.\.\/[0-9a-f-]{36}\/[A-Za-z0-9._-]+$/
export function createQemuImg(sandbox: ToolSandbox, program = findProgram('qemu-img')): QemuImg {
  const call = createQemuImgCall(sandbox, program)

  const dropBitmaps = async (path: string, options: CallOptions): Promise<void> => {
    const node = nodeName([{ path, format: 'qcow2' }])
    const text = await call(
      'Reading a disk',
      ['info', '--output=json', node],
      { readable: [path], writable: [] },
      CREATE_TIMEOUT_MS,
      options.signal,
      options.user,
    )
    for (const { name } of Bitmaps.parse(JSON.parse(text))['format-specific']?.data.bitmaps ?? [])
      await call(
        'Changing a disk',
        ['bitmap', '--remove', node, name],
        { readable: [], writable: [path] },
        CREATE_TIMEOUT_MS,
        options.signal,
        options.user,
      )
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
    async importDisk(source, format, target, { maxBytes, onProgress, signal }) {
      assertSafePath(source)
      assertSafePath(target)
      if (program === null) {
        throw new EngineError('internal', 'qemu-img is not installed, so no image can be converted.')
      }
      const stall = new AbortController()
      const timer = setTimeout(() => {
        stall.abort(new EngineError('image_refused', 'The conversion stood still for ten minutes and was given up.'))
      }, IMPORT_STALL_MS)
      let before = ''
      try {
        const result = await sandbox.run({
          program,
          args: ['convert', '-p', '-t', 'writeback', '-f', format, '-O', 'qcow2', '--', source, target],
          readable: [source],
          writable: [dirname(target)],
          timeoutMs: IMPORT_TIMEOUT_MS,
          maxFileBytes: maxBytes,
          signal: signal === undefined ? stall.signal : AbortSignal.any([signal, stall.signal]),
          onStdout(text) {
            const part = lastProgress(before + text)
            before = text.slice(-32)
            if (part === null) return
            timer.refresh()
            onProgress(part)
          },
        })
        if (result.exitCode !== 0) throw importFailure(result, maxBytes)
      } finally {
        clearTimeout(timer)
      }
    },
    async info(path, format, options = {}) {
      assertSafePath(path)
      const text = await call(
        'Reading a disk',
        ['info', '-U', '--output=json', '-f', format, '--', path],
        { readable: [path], writable: [] },
        CREATE_TIMEOUT_MS,
        options.signal,
        options.user,
      )
      const parsed = ImageInfo.parse(JSON.parse(text))
      return {
        format: parsed.format,
        virtualSizeBytes: parsed['virtual-size'],
        actualSizeBytes: parsed['actual-size'] ?? null,
        backingFile: parsed['backing-filename'] ?? null,
      }
    },
    async tags(path, options = {}) {
      assertSafePath(path)
      const text = await call(
        'Reading a disk',
        ['info', '--output=json', nodeName([{ path, format: 'qcow2' }])],
        { readable: [path], writable: [] },
        CREATE_TIMEOUT_MS,
        options.signal,
        options.user,
      )
      return Tags.parse(JSON.parse(text)).snapshots.map(({ name }) => name)
    },
    async snapshot(action, path, tag, options = {}) {
      assertSafePath(path)
      // A number would be taken for qemu-img's own id of another snapshot.
      if (!TAG.test(tag)) throw new Error('not a tag of ours')
      // What changed since a backup is no longer what the bitmaps say, and QEMU refuses to go back while there are any.
      if (action === 'apply') await dropBitmaps(path, options)
      await call(
        { create: 'Taking a snapshot', apply: 'Going back to a snapshot', delete: 'Deleting a snapshot' }[action],
        [
          'snapshot',
          '-q',
          { create: '-c', apply: '-a', delete: '-d' }[action],
          tag,
          nodeName([{ path, format: 'qcow2' }]),
        ],
        { readable: [], writable: [path] },
        SNAPSHOT_TIMEOUT_MS,
        options.signal,
        options.user,
      )
    },
    async commit(chain, options = {}) {
      for (const { path } of chain) assertSafePath(path)
      const [top, base, ...below] = chain
      if (top === undefined || base === undefined) throw new Error('a commit needs two files')
      await call(
        'Merging two layers',
        ['commit', '-q', '-d', '-t', 'writeback', nodeName(chain)],
        { readable: below.map(({ path }) => path), writable: [top.path, base.path] },
        COMMIT_TIMEOUT_MS,
        options.signal,
        options.user,
      )
    },
    async createBackupFile(path, { sizeBytes, compression, below }, options = {}) {
      assertSafePath(path)
      if (below !== null && !BACKUP_FILE.test(below)) throw new Error('not a file of a backup')
      await call(
        'Creating a file of the backup',
        [
          ...['create', '-q', '-f', 'qcow2'],
          ...(compression === 'zstd' ? ['-o', 'compression_type=zstd'] : []),
          ...(below === null ? [] : ['-u', '-b', below, '-F', 'qcow2']),
          ...['--', path, String(sizeBytes)],
        ],
        { readable: [], writable: [dirname(path)] },
        CREATE_TIMEOUT_MS,
        options.signal,
      )
    },
    async renameBackupBacking(path, below, options = {}) {
      assertSafePath(path)
      if (below !== null && !BACKUP_FILE.test(below)) throw new Error('not a file of a backup')
      await call(
        'Changing a file of the backup',
        [
          ...['rebase', '-q', '-u', '-f', 'qcow2'],
          ...(below === null ? ['-b', ''] : ['-b', below, '-F', 'qcow2']),
          ...['--', path],
        ],
        { readable: [], writable: [path] },
        CREATE_TIMEOUT_MS,
        options.signal,
      )
    },
    async check(path, options = {}) {
      assertSafePath(path)
      if (program === null) throw new EngineError('internal', 'qemu-img is not installed, so nothing can be checked.')
      const { exitCode, stderr, stdout } = await sandbox.run({
        program,
        args: ['check', '-q', nodeName([{ path, format: 'qcow2' }])],
        ...{ readable: [path], writable: [], maxFileBytes: null },
        timeoutMs: CHECK_TIMEOUT_MS,
        ...(options.signal && { signal: options.signal }),
      })
      // 3: clusters that nobody uses, which harm nothing.
      if (exitCode === 0 || exitCode === 3) return null
      const said = `${stdout}\n${stderr}`.trim().split('\n').at(-1) ?? ''
      return exitCode === 2
        ? 'its structure is damaged'
        : `qemu-img could not read it (${said.replaceAll(path, '…').slice(0, 200)})`
    },
    async flatten(chain, target, { tag, onProgress, signal, user }) {
      for (const { path } of chain) assertSafePath(path)
      assertSafePath(target)
      if (tag !== undefined && !TAG.test(tag)) throw new Error('not a tag of ours')
      let before = ''
      await call(
        'Copying a disk',
        [
          ...['convert', '-p', '-n', '--target-is-zero', '-t', 'writeback'],
          ...(tag === undefined ? [] : ['-l', `snapshot.name=${tag}`]),
          ...['-O', 'qcow2', nodeName(chain), target],
        ],
        { readable: chain.map(({ path }) => path), writable: [target] },
        IMPORT_TIMEOUT_MS,
        signal,
        user,
        (text) => {
          const part = lastProgress(before + text)
          before = text.slice(-32)
          if (part !== null) onProgress(part)
        },
      )
    },
    async copyChain(chain, target, { keepBitmaps = false, limitMiBps = null, onProgress, signal, user }) {
      for (const { path } of [...chain, ...target.base, target]) assertSafePath(path)
      const [below] = target.base
      const over = below === undefined ? ['--target-is-zero'] : ['-B', below.path, '-F', below.format]
      const stall = new AbortController()
      const timer = setTimeout(() => {
        stall.abort(new EngineError('pool_unavailable', 'The copy stood still for ten minutes and was given up.'))
      }, IMPORT_STALL_MS)
      let before = ''
      try {
        await call(
          'Copying a disk',
          [
            ...['convert', '-p', '-n', '-t', 'writeback', ...over],
            ...(keepBitmaps ? ['--bitmaps', '--skip-broken-bitmaps'] : []),
            ...(limitMiBps === null ? [] : ['-r', `${limitMiBps}M`]),
            ...['--target-image-opts', '--'],
            ...[nodeName(chain), dottedNode([target, ...target.base])],
          ],
          { readable: [...chain, ...target.base].map(({ path }) => path), writable: [target.path] },
          IMPORT_TIMEOUT_MS,
          signal === undefined ? stall.signal : AbortSignal.any([signal, stall.signal]),
          user,
          (text) => {
            const part = lastProgress(before + text)
            before = text.slice(-32)
            if (part === null) return
            timer.refresh()
            onProgress(part)
          },
        )
      } finally {
        clearTimeout(timer)
      }
    },
    async grow(file, sizeBytes, options = {}) {
      assertSafePath(file.path)
      await call(
        'Growing a disk',
        ['resize', '-q', '--', nodeName([file]), String(Math.trunc(sizeBytes))],
        { readable: [], writable: [file.path] },
        CREATE_TIMEOUT_MS,
        options.signal,
        options.user,
      )
    },
    async renameBacking(path, backing, options = {}) {
      assertSafePath(path)
      if (backing !== null) assertSafePath(backing.path)
      await call(
        'Changing a disk',
        [
          ...['rebase', '-q', '-u', '-f', 'qcow2'],
          ...(backing === null ? ['-b', ''] : ['-b', backing.path, '-F', backing.format]),
          ...['--', path],
        ],
        { readable: [], writable: [path] },
        CREATE_TIMEOUT_MS,
        options.signal,
        options.user,
      )
    },
  }
}
