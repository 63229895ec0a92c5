/** The verbs, asked of the process that stays root (`serve.ts`). */
import { spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { ProcessExit } from '#server/platform/process.ts'
import type { PoolChild } from '#server/storage/pool-child.ts'
import type { LauncherSettings } from './guarded.ts'
import type { RootActs } from './verbs.ts'
import { readLines, Told, unpackError, type Verb, writeLine } from './wire.ts'

export interface Launcher {
  readonly pid: number
  readonly acts: RootActs
  /** Resolves when it has ended, which it does not before us unless something is wrong. */
  readonly ended: Promise<void>
}

/** As little as the programs it starts need. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C.UTF-8',
  // Next's types demand it of every environment.
  NODE_ENV: 'production' as const,
}

/**
 * Starts it and returns at once: what is asked before it is up waits in the socket.
 * @throws Error when it cannot be started
 */
export function startLauncher(settings: LauncherSettings): Launcher {
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=64', join(import.meta.dirname, 'serve.ts'), JSON.stringify(settings)],
    { cwd: '/', env: ENVIRONMENT, detached: true, stdio: ['ignore', 'ignore', 'inherit', 'pipe'] },
  )
  const socket = child.stdio[3]
  const { pid } = child
  if (pid === undefined || !(socket instanceof Socket)) throw new Error('The launcher could not be started.')
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  const running = new Map<number, (exit: ProcessExit) => void>()
  let last = 0
  let isGone = false

  const ended = new Promise<void>((resolve) => {
    const onEnd = () => {
      if (isGone) return
      isGone = true
      for (const { reject } of waiting.values()) reject(gone())
      waiting.clear()
      resolve()
    }
    child.once('exit', onEnd)
    child.on('error', onEnd)
    socket.once('close', onEnd)
    socket.on('error', onEnd)
  })
  readLines(socket, (value) => {
    const told = Told.parse(value)
    if ('ended' in told) {
      const { code, signal } = told.ended
      // Cast: it is what the launcher's own Node said.
      running.get(told.id)?.({ code, signal: signal as ProcessExit['signal'] })
      running.delete(told.id)
      return
    }
    const one = waiting.get(told.id)
    waiting.delete(told.id)
    if ('failed' in told) one?.reject(unpackError(told.failed))
    else one?.resolve(told.done)
  })

  const ask = (verb: Verb, request: object, id = ++last): Promise<unknown> => {
    if (isGone) return Promise.reject(gone())
    const answer = Promise.withResolvers<unknown>()
    waiting.set(id, answer)
    writeLine(socket, { id, verb, request })
    return answer.promise
  }
  /** Casts below: what each verb resolves to is the launcher's, which is ours and of the same release. */
  const inPool = async (verb: 'ownInPool' | 'openPool', request: object, child: PoolChild): Promise<void> => {
    if (child.stuck) throw child.hangs()
    await ask(verb, request).catch((error: unknown) => {
      throw error instanceof EngineError ? child.hangs() : error
    })
  }

  return {
    pid,
    ended,
    acts: {
      own: async (request) => void (await ask('own', request)),
      ownInPool: (request, child) => inPool('ownInPool', request, child),
      openPath: async (request) => (await ask('openPath', request)) as string[],
      openPool: (request, child) => inPool('openPool', request, child),
      async launch(request) {
        const id = ++last
        const exit = Promise.withResolvers<ProcessExit>()
        running.set(id, exit.resolve)
        try {
          const started = (await ask('launch', request, id)) as number
          return { pid: started, exited: exit.promise, release: () => void running.delete(id) }
        } catch (error) {
          running.delete(id)
          throw error
        }
      },
      signal: async (request) => (await ask('signal', request)) as boolean,
      pin: async (request) => (await ask('pin', request)) as string | null,
      makeTap: async (request) => void (await ask('makeTap', request)),
      removeTap: async (request) => void (await ask('removeTap', request)),
      limitTap: async (request) => void (await ask('limitTap', request)),
      makeVirtiofsdLocks: async () => void (await ask('makeVirtiofsdLocks', {})),
      removeVirtiofsdLock: async (request) => void (await ask('removeVirtiofsdLock', request)),
      enclose: async (request) => void (await ask('enclose', request)),
      readCertificate: async (request) => (await ask('readCertificate', request)) as { cert: string; key: string },
      canGuestsRead: async (request) => (await ask('canGuestsRead', request)) as boolean,
      authenticate: async (request) => (await ask('authenticate', request)) as boolean,
    },
  }
}

const gone = () => new Error('The launcher has ended, and with it what the dashboard can do for its guests.')
