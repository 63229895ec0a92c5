/**
 * Everything done to the directory of a pool that may hang (NFS, FUSE) is done by a child process, so that a system
 * call that never returns holds none of our threads. A child that does not end in time is killed and abandoned: the
 * kernel lets go of it when the storage answers again. While one of a pool's children hangs, no further is started.
 */
import { spawn } from 'node:child_process'
import { EngineError } from '#server/engine/errors.ts'
import { killOwn } from '#server/platform/process.ts'
import { TOOL_ENV } from './sandbox.ts'

export interface ChildAnswer {
  readonly code: number | null
  /** At most 4 MiB. */
  readonly stdout: string
  readonly stderr: string
}

export interface PoolChild {
  /** Whether a child is still stuck in the storage. */
  readonly stuck: boolean
  /** What `run` throws when the storage does not answer. */
  hangs(): EngineError
  /**
   * Runs a `/bin/sh` script; `$1`, `$2` … are `args`, never part of the script.
   * @throws EngineError pool_unavailable when it does not end in time, or while another is stuck
   */
  run(script: string, args: readonly string[], options?: { timeoutMs?: number; input?: string }): Promise<ChildAnswer>
}

const STDOUT_MAX = 4 * 2 ** 20
const STDERR_MAX = 4096
export const LOOK_MS = 3000

/** @param name of the pool, for messages */
export function createPoolChild(name: () => string, shell = '/bin/sh'): PoolChild {
  const stuck = new Set<number>()
  const hangs = () =>
    new EngineError(
      'pool_unavailable',
      `The storage pool ${name()} does not answer. Check the storage behind it; what lies there can be used again once it does.`,
    )
  return {
    get stuck() {
      return stuck.size > 0
    },
    hangs,
    run(script, args, { timeoutMs = LOOK_MS, input } = {}) {
      if (stuck.size > 0) return Promise.reject(hangs())
      return new Promise((resolve, reject) => {
        const child = spawn(shell, ['-c', script, 'sh', ...args], {
          // Anywhere but in the storage, which must stay free to be unmounted.
          cwd: '/',
          env: TOOL_ENV,
          stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
          // A group of its own, so that what the shell started is killed with it.
          detached: true,
        })
        const { pid } = child
        let stdout = ''
        let stderr = ''
        let over = false
        child.stdout?.setEncoding('utf8').on('data', (text: string) => {
          if (stdout.length < STDOUT_MAX) stdout += text
        })
        child.stderr?.setEncoding('utf8').on('data', (text: string) => {
          if (stderr.length < STDERR_MAX) stderr += text.slice(0, STDERR_MAX)
        })
        child.stdin?.on('error', () => {}).end(input)
        const timer = setTimeout(() => {
          over = true
          if (pid !== undefined) {
            stuck.add(pid)
            killOwn(-pid)
          }
          // Nothing of it may keep the dashboard from ending.
          child.unref()
          child.stdout?.destroy()
          child.stderr?.destroy()
          reject(hangs())
        }, timeoutMs)
        child.once('error', (error) => {
          clearTimeout(timer)
          if (!over) reject(error)
        })
        child.once('exit', () => {
          if (pid !== undefined) stuck.delete(pid)
        })
        child.once('close', (code) => {
          clearTimeout(timer)
          if (!over) resolve({ code, stdout, stderr })
        })
      })
    },
  }
}
