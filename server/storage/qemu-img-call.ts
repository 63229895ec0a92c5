/** One call of qemu-img: in the sandbox, with what it says turned into our errors. */
import { isAbsolute } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { ToolSandbox, ToolUser } from './sandbox.ts'

/** What `qemu-img -p` prints. */
const PROGRESS = /\((\d{1,3}\.\d+)\/100%\)/g

export function assertSafePath(path: string): void {
  // Names come from server/paths.ts and consist of ids; anything else is a bug, not an input error.
  if (!isAbsolute(path) || /[\n\r\0]/.test(path)) throw new Error('qemu-img needs absolute plain paths')
}

/** @returns how the last progress line in `text` reads, 0 to 1; null: none */
export function lastProgress(text: string): number | null {
  const last = [...text.matchAll(PROGRESS)].at(-1)?.[1]
  return last === undefined ? null : Math.min(1, Number(last) / 100)
}

/** @throws EngineError no_space, in_use, internal; the signal's reason */
export function createQemuImgCall(sandbox: ToolSandbox, program: string | null) {
  return async function call(
    what: string,
    args: readonly string[],
    dirs: { readable: readonly string[]; writable: readonly string[] },
    timeoutMs: number,
    signal: AbortSignal | undefined,
    user: ToolUser | null = null,
    onStdout?: (text: string) => void,
  ): Promise<string> {
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
      user,
      ...(signal && { signal }),
      ...(onStdout && { onStdout }),
    })
    if (result.exitCode === 0) return result.stdout
    const detail = result.stderr.trim().split('\n').at(-1) ?? ''
    const cause = new Error(`qemu-img ${args[0]}: exit ${result.exitCode ?? result.signal}: ${result.stderr.trim()}`)
    if (/No space left on device|Disk quota exceeded/.test(detail)) {
      throw new EngineError('no_space', `${what} failed: the disk is full. Delete images or VMs and try again.`, {
        cause,
      })
    }
    if (/Failed to get .*lock|Is another process using the image/.test(result.stderr)) {
      throw new EngineError('in_use', `${what} failed: another program has the disk open. End it, then try again.`, {
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
}

/** What qemu-img said about somebody else's file is data: the log gets it, the sentence does not. */
export function importFailure(
  { exitCode, signal, stderr }: { exitCode: number | null; signal: NodeJS.Signals | null; stderr: string },
  maxBytes: number,
): EngineError {
  const cause = new Error(`qemu-img convert: exit ${exitCode ?? signal}: ${stderr.trim()}`)
  if (/No space left on device|Disk quota exceeded/.test(stderr)) {
    return new EngineError('no_space', 'The disk became full during the conversion. Make room and try again.', {
      cause,
    })
  }
  // A shell's way of saying "killed by SIGXFSZ", which bubblewrap follows.
  if (/File too large/.test(stderr) || signal === 'SIGXFSZ' || exitCode === 128 + 25) {
    return new EngineError(
      'image_refused',
      `The image unpacks to more than the ${Math.ceil(maxBytes / 2 ** 20)} MiB that a file of this kind and size may hold. It is damaged, or made to fill disks.`,
      { cause },
    )
  }
  return new EngineError(
    'image_refused',
    'qemu-img could not read this image: it is damaged, or of a kind that QEMU does not know. Check it where it comes from: qemu-img check.',
    { cause },
  )
}
