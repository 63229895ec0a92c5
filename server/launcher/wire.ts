/**
 * What goes over the socket between the dashboard and its launcher: a line of JSON for each request, answer and end of a
 * program. Node's own channel between processes is not used, as that also carries open files and commands of its own.
 */
import type { Socket } from 'node:net'
import * as z from 'zod'
import { ConfigError } from '#server/config-error.ts'
import { EngineError } from '#server/engine/errors.ts'
import { NetworkFault } from '#server/network/fault.ts'
import { UnsafeFileError } from '#server/platform/fs.ts'
import {
  CertificateRequest,
  EncloseRequest,
  LaunchRequest,
  OpenPathRequest,
  OwnRequest,
  PamRequest,
  PinRequest,
  PoolActError,
  PoolRequest,
  ReadRequest,
  type RootActs,
  SignalRequest,
  SocketRequest,
  TapLimitRequest,
  TapNameRequest,
  TapRequest,
} from './verbs.ts'

/** What each verb is asked with. */
export const REQUESTS = {
  own: OwnRequest,
  ownInPool: OwnRequest,
  openPath: OpenPathRequest,
  openPool: PoolRequest,
  launch: LaunchRequest,
  signal: SignalRequest,
  pin: PinRequest,
  makeTap: TapRequest,
  removeTap: TapNameRequest,
  limitTap: TapLimitRequest,
  makeVirtiofsdLocks: z.strictObject({}),
  removeVirtiofsdLock: SocketRequest,
  enclose: EncloseRequest,
  readCertificate: CertificateRequest,
  canGuestsRead: ReadRequest,
  authenticate: PamRequest,
} satisfies Record<keyof RootActs, z.ZodType>
export type Verb = keyof typeof REQUESTS

export const Asked = z.object({ id: z.int().min(1), verb: z.string(), request: z.unknown() })
export type Asked = z.output<typeof Asked>

const Failure = z.object({
  name: z.string(),
  message: z.string(),
  code: z.string().optional(),
  path: z.string().optional(),
  summary: z.string().optional(),
  advice: z.string().optional(),
})
type Failure = z.output<typeof Failure>

export const Told = z.union([
  /** Of a program that `launch` has started, by the id of that request. */
  z.object({ id: z.int(), ended: z.object({ code: z.int().nullable(), signal: z.string().nullable() }) }),
  z.object({ id: z.int(), failed: Failure }),
  z.object({ id: z.int(), done: z.unknown() }),
])
export type Told = z.input<typeof Told>

/** The longest request is a command line. */
const MAX_LINE = 4 * 2 ** 20

/** @param onLine gets each line that is JSON; one that is not, or too long, ends the connection */
export function readLines(socket: Socket, onLine: (value: unknown) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    try {
      if (rest.length > MAX_LINE) throw new RangeError('a line too long')
      for (const line of lines) onLine(JSON.parse(line))
    } catch {
      socket.destroy()
    }
  })
}

export const writeLine = (socket: Socket, value: Asked | Told): void => {
  if (socket.writable) socket.write(`${JSON.stringify(value)}\n`)
}

const textOf = (error: object, key: string): Record<string, string> => {
  const value = key in error ? (error as Record<string, unknown>)[key] : undefined
  return typeof value === 'string' ? { [key]: value } : {}
}

export function packError(error: unknown): Failure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { name, message } = error
  return {
    name,
    message,
    ...textOf(error, 'code'),
    ...textOf(error, 'path'),
    ...textOf(error, 'summary'),
    ...textOf(error, 'advice'),
  }
}

/** The error as it was thrown, of the kinds that callers look for. */
export function unpackError({ name, message, code, path, summary = '', advice = '' }: Failure): Error {
  if (name === 'UnsafeFileError') return new UnsafeFileError(message)
  if (name === 'PoolActError') return new PoolActError(message)
  if (name === 'ConfigError') return new ConfigError(message)
  if (name === 'EngineError' && code === 'pool_unavailable') return new EngineError(code, message)
  // Casts: the launcher is ours, and of the same release; what it names is of the set.
  if (name === 'NetworkFault') return new NetworkFault(code as NetworkFault['code'], summary, advice)
  return Object.assign(new Error(message), code === undefined ? {} : { code }, path === undefined ? {} : { path })
}
