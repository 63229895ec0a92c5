/**
 * A QEMU without a machine, started to be asked and then thrown away. Introspection belongs here alone:
 * `device-list-properties` of some devices aborts the process on some builds, which must never be a guest.
 */
import { type ChildUser, type ChildWithSocket, spawnWithSocket } from '#server/platform/child.ts'
import { attachQmp } from '#server/qmp/client.ts'
import { QmpError } from '#server/qmp/errors.ts'
import type { QmpClient } from '#server/qmp/types.ts'

export interface ThrowawayOptions {
  readonly binary: string
  readonly accelerator: 'kvm' | 'tcg'
  /** User to run as; null keeps ours. */
  readonly user: ChildUser | null
  /** The whole life of the process. Milliseconds. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** QEMU ended, or never spoke. The message has its exit status and the end of its stderr. */
export class ThrowawayFailed extends Error {
  override readonly name = 'ThrowawayFailed'
}

/**
 * Runs `ask` against a fresh `-machine none` QEMU, then ends it, whatever happened.
 * @throws ThrowawayFailed, the system error when it cannot be started, what `ask` throws, or the signal's reason
 */
export async function askThrowaway<T>(
  options: ThrowawayOptions,
  ask: (qmp: QmpClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(options.timeoutMs)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline])
  signal.throwIfAborted()
  const child = await spawnWithSocket(options.binary, throwawayArgs(options.accelerator), { user: options.user })
  let qmp: QmpClient | null = null
  try {
    qmp = await attachQmp(child.socket, { timeoutMs: options.timeoutMs, signal })
    return await ask(qmp, signal)
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason
    if (deadline.aborted) throw new ThrowawayFailed(`${options.binary} did not answer within ${options.timeoutMs} ms`)
    // A broken connection only says that QEMU went away; its exit status and stderr say why.
    if (error instanceof QmpError && (qmp === null || qmp.closed)) throw await explain(options.binary, child, error)
    throw error
  } finally {
    qmp?.close()
    child.socket.destroy()
    child.kill()
    await child.exited
  }
}

function throwawayArgs(accelerator: 'kvm' | 'tcg'): string[] {
  return [
    ...['-machine', 'none'],
    ...['-accel', accelerator],
    ...['-S', '-nodefaults', '-no-user-config'],
    ...['-display', 'none'],
    ...['-chardev', 'socket,id=mon0,fd=3'],
    ...['-mon', 'chardev=mon0,mode=control'],
  ]
}

async function explain(binary: string, child: ChildWithSocket, cause: Error): Promise<ThrowawayFailed> {
  const timer = setTimeout(() => child.kill(), 500)
  const exit = await child.exited
  clearTimeout(timer)
  const how = exit.signal === null ? `exit status ${exit.code}` : `signal ${exit.signal}`
  const said = child.stderr().trim().split('\n').slice(-3).join(' / ')
  return new ThrowawayFailed(`${binary} ended (${how})${said === '' ? '' : `: ${said}`}`, { cause })
}
