/**
 * The process that stays root when the dashboard does not: it does the verbs that come over the socket it was started
 * with, one for each line, and ends when that closes. What it has started goes on. Run by `startLauncher` alone.
 */
import { Socket } from 'node:net'
import { createPoolChild } from '#server/storage/pool-child.ts'
import { guardedActs, readSettings } from './guarded.ts'
import type { RootActs } from './verbs.ts'
import { Asked, packError, REQUESTS, readLines, type Told, type Verb, writeLine } from './wire.ts'

const SOCKET_FD = 3

const isVerb = (verb: string): verb is Verb => Object.hasOwn(REQUESTS, verb)

async function act(acts: RootActs, { id, verb, request }: Asked, tell: (told: Told) => void): Promise<unknown> {
  if (!isVerb(verb)) throw new TypeError('no such verb')
  const asked = REQUESTS[verb].parse(request)
  // Casts: the schema of this very verb has just made it.
  if (verb === 'launch') {
    const { pid, exited } = await acts.launch(asked as Parameters<RootActs['launch']>[0])
    void exited.then((ended) => tell({ id, ended }))
    return pid
  }
  if (verb === 'ownInPool' || verb === 'openPool') {
    // A child of its own: those of other pools must not wait for one that hangs.
    const child = createPoolChild(() => '')
    return await acts[verb](asked as never, child)
  }
  return await acts[verb](asked as never)
}

function serve(): void {
  const acts = guardedActs(readSettings(process.argv[2] ?? ''))
  const socket = new Socket({ fd: SOCKET_FD, readable: true, writable: true })
  const tell = (told: Told) => writeLine(socket, told)
  // The dashboard has gone, however it went.
  socket.on('close', () => process.exit(0))
  socket.on('error', () => process.exit(0))
  readLines(socket, (value) => {
    const asked = Asked.parse(value)
    act(acts, asked, tell).then(
      (done) => tell({ id: asked.id, done: done ?? null }),
      (error: unknown) => tell({ id: asked.id, failed: packError(error) }),
    )
  })
  // Ended with the dashboard alone: not by a key in its terminal, nor by whoever stops all of a unit's processes gently.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
}

serve()
