/**
 * For tests: ends a process at a named point. Loaded into a dashboard by `--import`, it watches what the dashboard sends
 * over its sockets; the point is a QMP command, and the kill comes in the place of that command, or a moment before it.
 * The file named by GUESTDECK_TEST_KILL says which, once: `{ "command": "job-complete", "pids": [123, 0] }`, 0 being the
 * dashboard itself.
 */
import { readFileSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { isMainThread } from 'node:worker_threads'
import * as z from 'zod'
import { createKiller } from './kill-other.ts'

const Kill = z.object({ command: z.string(), pids: z.array(z.int()) })
const file = process.env.GUESTDECK_TEST_KILL ?? ''
const end = file !== '' && isMainThread ? createKiller(`${file}.pipe`) : null

function dueBefore(text: string): readonly number[] {
  const execute = /^\{"execute":"([^"]+)"/.exec(text)?.[1]
  if (execute === undefined) return []
  try {
    const { command, pids } = Kill.parse(JSON.parse(readFileSync(file, 'utf8')))
    if (command !== execute) return []
    rmSync(file)
    return pids
  } catch {
    // Nothing is asked for now.
    return []
  }
}

// Other people's signature: every overload passes through as it is.
const write = Socket.prototype.write as (this: Socket, ...args: unknown[]) => boolean
Socket.prototype.write = function (this: Socket, ...args: unknown[]): boolean {
  const [chunk] = args
  if (typeof chunk === 'string')
    for (const pid of dueBefore(chunk)) {
      end?.(pid === 0 ? process.pid : pid, 'SIGKILL')
      // Not one more byte leaves.
      if (pid === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000)
    }
  return write.apply(this, args)
}
