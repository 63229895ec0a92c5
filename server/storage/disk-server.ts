/**
 * Lends a disk to one program that changes what is on it, without the guest: `qemu-nbd` opens its chain in the tool
 * sandbox and the program gets blocks over a socket, never a file. The chain is spelled out, so that nothing a header
 * says is followed (decision 0013); what lies below the first file stays as it is.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir } from '#server/launcher/shapes.ts'
import { type ChainFile, nodeName } from './chain-node.ts'
import { assertSafePath } from './qemu-img-call.ts'
import { findProgram, type ToolSandbox, type ToolUser } from './sandbox.ts'

export interface LentDisk extends AsyncDisposable {
  /** Directory of the socket, for a sandbox. */
  readonly dir: string
  readonly socket: string
  /**
   * Call when the program has gone: resolves when all it wrote is in the file and the file is closed.
   * @throws EngineError internal when it was not closed in order; then the file is not to be used
   */
  returned(): Promise<void>
}

export interface DiskServer {
  /** @param chain top first, whole; only the first is written @throws EngineError internal; the signal's reason */
  lend(chain: readonly ChainFile[], user: ToolUser | null, lifeMs: number, signal: AbortSignal): Promise<LentDisk>
}

/** Until it listens: it has not opened the disk by then. */
const READY_MS = 30_000
const RETRY_MS = 15
/** For what is still in memory to be written, on a slow disk. */
const CLOSE_MS = 120_000

/** @param parent a directory that guests' users may pass through; each disk has one of its own in it */
export function createDiskServer(sandbox: ToolSandbox, parent: string, program = findProgram('qemu-nbd')): DiskServer {
  return {
    async lend(chain, user, lifeMs, signal) {
      for (const { path } of chain) assertSafePath(path)
      const [top, ...below] = chain
      if (top === undefined) throw new Error('a disk has at least one file')
      if (program === null)
        throw new EngineError('internal', 'qemu-nbd is not installed. Install it: apt-get install qemu-utils.')
      signal.throwIfAborted()
      const ending = new AbortController()
      const dir = await mkdtemp(join(parent, 'w'))
      const socket = join(dir, 'nbd')
      await rootActs().own({ path: dir, as: guestDir(user?.uid ?? null), sync: false })
      let ended = false
      const over = sandbox
        .run({
          program,
          // Ends by itself, with the file closed, when its only client has gone.
          args: ['--shared=1', '--discard=unmap', `--socket=${socket}`, nodeName(chain)],
          readable: below.map(({ path }) => path),
          writable: [dir, top.path],
          timeoutMs: lifeMs,
          maxFileBytes: null,
          user,
          signal: ending.signal,
        })
        .catch((error: unknown) => ({ exitCode: null, signal: null, stdout: '', stderr: String(error) }))
        .finally(() => {
          ended = true
        })
      const close = async (): Promise<void> => {
        ending.abort(new Error('closed'))
        await over
        await rm(dir, { recursive: true, force: true })
      }
      const failure = (what: string, stderr: string) =>
        new EngineError('internal', what, { cause: new Error(`qemu-nbd: ${stderr.trim()}`) })
      const until = performance.now() + READY_MS
      while (!existsSync(socket)) {
        const isLate = performance.now() > until
        if (!ended && !isLate && !signal.aborted) {
          await sleep(RETRY_MS)
          continue
        }
        await close()
        signal.throwIfAborted()
        throw failure('QEMU could not open a disk of the clone.', isLate ? 'too late' : (await over).stderr)
      }
      return {
        dir,
        socket,
        async returned() {
          const timer = setTimeout(() => ending.abort(new Error('late')), CLOSE_MS)
          const { exitCode, stderr } = await over.finally(() => clearTimeout(timer))
          if (exitCode !== 0) throw failure('What was changed on a disk could not all be written.', stderr)
        },
        [Symbol.asyncDispose]: close,
      }
    },
  }
}
