/**
 * Reads what a disk shows, without the guest: `qemu-nbd --read-only` opens its chain in the tool sandbox, which sees
 * those files, no network and nothing else; the dashboard gets bytes over a socket. The chain is spelled out, so that
 * nothing a header says is followed (decision 0013).
 *
 * Locks are left alone: reading must not keep a VM from starting. Callers make sure that nobody writes meanwhile, and
 * throw away what they read when somebody began to.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir } from '#server/launcher/shapes.ts'
import { type ChainFile, nodeName } from './chain-node.ts'
import { connectNbd, type NbdClient } from './nbd.ts'
import { assertSafePath } from './qemu-img-call.ts'
import { findProgram, type ToolSandbox, type ToolUser } from './sandbox.ts'

export interface DiskSource {
  /** Top first, whole. */
  readonly chain: readonly ChainFile[]
  /** Owner of the files, where that is a guest's user. */
  readonly user?: ToolUser | null
  /** A snapshot of ours inside the first file, instead of its present content. */
  readonly tag?: string
}

export interface OpenDisk extends AsyncDisposable {
  readonly sizeBytes: number
  /** Where others may read the same bytes over NBD. */
  readonly socket: string
  /** At most 32 MiB at once. @throws EngineError pool_unavailable, unreadable */
  read(offset: number, length: number): Promise<Buffer>
  close(): Promise<void>
}

export interface DiskReader {
  /** @throws EngineError unreadable, pool_unavailable; the signal's reason */
  open(source: DiskSource, signal: AbortSignal): Promise<OpenDisk>
}

const TAG = /^gd-[0-9a-f-]{36}$/
/** Until the first answer; opening tables of a large chain on a slow disk takes a while. */
const READY_MS = 30_000
const RETRY_MS = 15
/** For a program that hung up to be gone. */
const END_MS = 2_000
/** Whatever happens, no reader lives longer. */
const LIFE_MS = 6 * 3_600_000
/** Ourselves, and a helper that reads the same disk. */
const CLIENTS = 4

/** @param parent a directory that guests' users may pass through; each reader has one of its own in it */
export function createDiskReader(sandbox: ToolSandbox, parent: string, program = findProgram('qemu-nbd')): DiskReader {
  return {
    async open({ chain, user = null, tag }, signal) {
      for (const { path } of chain) assertSafePath(path)
      if (tag !== undefined && !TAG.test(tag)) throw new Error('not a tag of ours')
      if (program === null)
        throw new EngineError(
          'unreadable',
          'qemu-nbd is not installed, so disks cannot be looked into. Install it: apt-get install qemu-utils.',
        )
      signal.throwIfAborted()
      const ending = new AbortController()
      const dir = await mkdtemp(join(parent, 'r'))
      const socket = join(dir, 'nbd')
      await rootActs().own({ path: dir, as: guestDir(user?.uid ?? null), sync: false })
      const running = sandbox.run({
        program,
        args: [
          // Ends by itself when we, its first client, have gone.
          ...['--read-only', `--shared=${CLIENTS}`, `--socket=${socket}`],
          ...(tag === undefined ? [] : [`--load-snapshot=snapshot.name=${tag}`]),
          nodeName(chain, { locking: false }),
        ],
        readable: chain.map(({ path }) => path),
        writable: [dir],
        timeoutMs: LIFE_MS,
        maxFileBytes: 0,
        user,
        signal: ending.signal,
      })
      /** Null while it runs. */
      let ended: { stderr: string } | null = null
      const end = (stderr: string): void => {
        ended = { stderr }
      }
      const over = running.then(
        ({ stderr }) => end(stderr),
        () => end(''),
      )
      let client: NbdClient | null = null
      const close = async (): Promise<void> => {
        client?.close()
        ending.abort(new Error('closed'))
        await over
        await rm(dir, { recursive: true, force: true })
      }
      try {
        client = await connectWhenReady(socket, () => ended !== null, signal)
      } catch (error) {
        // It listens before it opens the disk, and ends when it cannot: then that is the reason.
        await Promise.race([over, new Promise((resolve) => setTimeout(resolve, END_MS).unref())])
        const reason = ended === null ? null : wrongFile(ended)
        await close()
        signal.throwIfAborted()
        throw reason ?? error
      }
      const { sizeBytes, read } = client
      return { sizeBytes, socket, read, close, [Symbol.asyncDispose]: close }
    },
  }
}

// A parameter, because the type checker believes a variable that callbacks set to be null still.
const wrongFile = ({ stderr }: { stderr: string }) =>
  new EngineError('unreadable', 'QEMU could not open this disk: its file is damaged or missing.', {
    cause: new Error(`qemu-nbd: ${stderr.trim()}`),
  })

/** @throws EngineError pool_unavailable; the signal's reason */
async function connectWhenReady(socket: string, isOver: () => boolean, signal: AbortSignal): Promise<NbdClient> {
  const until = performance.now() + READY_MS
  for (;;) {
    signal.throwIfAborted()
    try {
      return await connectNbd(socket)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error
      if (isOver() || performance.now() > until)
        throw new EngineError('pool_unavailable', 'The disk does not answer. Look at its storage pool, then try again.')
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}
