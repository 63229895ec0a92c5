/**
 * For tests: the real store, sign-in and HTTP app, listening on a free port of loopback, over an engine double that
 * only remembers which of its methods were called. Nothing but tests imports this.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type * as z from 'zod'
import type { Role } from '#lib/schema/user.ts'
import { type AuthOptions, createAuth } from '#server/auth/auth.ts'
import { sessionKey, tokenKey } from '#server/auth/documents.ts'
import { openSealer } from '#server/auth/sealer.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import { EventHub } from '#server/events/hub.ts'
import { createHttpApp, type HttpOptions } from '#server/http/app.ts'
import { dataPaths } from '#server/paths.ts'
import { openStore } from '#server/store/sqlite.ts'

export const PASSWORD = 'correct horse battery'
export const MISSING_ID = '0190f000-0000-7000-8000-000000000000'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever the server answered
  readonly json: any
}

export interface RequestOptions {
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer | undefined
}

/** Node's own client, because fetch cleans up what an attack needs: paths, Host, duplicate headers. */
export function send(port: number, method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Node adds no length to a DELETE by itself.
    const length = options.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(options.body)) }
    const outgoing = httpRequest(
      { host: '127.0.0.1', port, method, path, headers: { ...length, ...options.headers }, agent: false },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk) => chunks.push(chunk))
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          let json: unknown
          try {
            json = JSON.parse(text)
          } catch {
            json = undefined
          }
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, json })
        })
        answer.on('error', reject)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(options.body)
  })
}

/** Writes bytes as they are; resolves with everything answered once the server closes, or after `waitMs`. */
export function sendRaw(port: number, bytes: string | Buffer, waitMs = 5000): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let out = ''
    const done = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve(out)
    }
    const timer = setTimeout(done, waitMs)
    socket.on('data', (chunk) => {
      out += chunk.toString('latin1')
    })
    socket.on('error', done)
    socket.on('close', done)
    socket.write(bytes)
  })
}

export interface EngineDouble {
  readonly engine: Engine
  readonly calls: { method: string; args: readonly unknown[] }[]
  readonly hub: EventHub
  /** Replaces what one method (`vms.list`) does. */
  on(method: string, answer: (...args: never[]) => unknown): void
}

/** Every method answers `not_found` until told otherwise, which is a domain answer like any other. */
export function engineDouble(): EngineDouble {
  const calls: EngineDouble['calls'] = []
  const answers = new Map<string, (...args: never[]) => unknown>()
  const hub = new EventHub()
  const method =
    (name: string) =>
    async (...args: unknown[]) => {
      calls.push({ method: name, args })
      const answer = answers.get(name)
      if (!answer) throw new EngineError('not_found', 'There is no such thing.')
      return answer(...(args as never[]))
    }
  const group = (name: string, methods: readonly string[]) =>
    Object.fromEntries(methods.map((m) => [m, method(`${name}.${m}`)]))
  const engine = {
    lab: group('lab', [
      'policy',
      'updatePolicy',
      'leases',
      'lease',
      'extend',
      'setLease',
      'powerSchedules',
      'createPowerSchedule',
      'updatePowerSchedule',
      'deletePowerSchedule',
      'skipPowerSchedule',
      'bookings',
      'book',
      'unbook',
    ]),
    vms: group('vms', [
      'list',
      'view',
      'create',
      'preview',
      'update',
      'previewChange',
      'devices',
      'delete',
      'resetFirmware',
      'start',
      'shutdown',
      'restart',
      'poweroff',
      'reset',
      'pause',
      'resume',
      'commandLine',
      'screenshot',
      'consoleTicket',
      'activity',
    ]),
    viewers: group('viewers', ['list', 'end', 'giveControl', 'releaseControl']),
    recordings: group('recordings', [
      'list',
      'view',
      'start',
      'stop',
      'content',
      'delete',
      'setRule',
      'settings',
      'updateSettings',
    ]),
    guestLinks: group('guestLinks', ['list', 'create', 'revoke', 'ticket']),
    images: group('images', [
      'list',
      'view',
      'upload',
      'register',
      'sources',
      'starters',
      'addStarter',
      'update',
      'content',
      'delete',
    ]),
    transfers: group('transfers', [
      'uploadList',
      'uploadView',
      'uploadSettle',
      'uploadCreate',
      'uploadAppend',
      'uploadFinish',
      'uploadDelete',
      'download',
      'downloadPreview',
      'catalogueList',
      'catalogueFetch',
    ]),
    appliances: group('appliances', ['importFile', 'list', 'view', 'delete']),
    projects: group('projects', [
      'list',
      'view',
      'create',
      'update',
      'delete',
      'directory',
      'groups',
      'createGroup',
      'updateGroup',
      'deleteGroup',
      'roles',
      'createRole',
      'updateRole',
      'deleteRole',
    ]),
    objectAccess: group('objectAccess', ['view', 'update']),
    usage: group('usage', ['view', 'setQuota']),
    host: group('host', ['view', 'capabilities', 'deviceType', 'devices']),
    jobs: group('jobs', ['list', 'view', 'cancel']),
    authorize: () => {},
    activity: method('activity'),
    verifyActivity: method('verifyActivity'),
    exportActivity: method('exportActivity'),
    metrics: method('metrics'),
    events: {
      epoch: hub.epoch,
      subscribe(
        _caller: Caller,
        since: { epoch: string | null; seq: number } | null,
        listener: (event: unknown, text: string) => void,
      ) {
        if (since !== null) {
          const missed = hub.replay(since)
          if (missed === null) listener(hub.marker('reset').event, hub.marker('reset').text)
          else for (const e of missed) listener(e.event, e.text)
        }
        return hub.subscribe((e) => listener(e.event, e.text))
      },
    },
    record: (entry: unknown) => calls.push({ method: 'record', args: [entry] }),
    denied: (what: string, text: string, caller: Caller, about: unknown) =>
      calls.push({ method: 'record', args: [{ what, text, result: 'denied', caller, about }] }),
    redeemConsoleTicket: () => null,
  } as unknown as Engine
  return { engine, calls, hub, on: (name, answer) => answers.set(name, answer) }
}

export async function startRig(overrides: Partial<HttpOptions> = {}, authOptions: AuthOptions = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'gd-http-'))
  const paths = dataPaths(dir)
  const store = openStore(paths)
  const auth = createAuth(store, openSealer(paths.sealKey), authOptions)
  const double = engineDouble()
  const logged: { level: string; fields: object; message: string }[] = []
  const logger = (level: string) => (fields: object, message: string) => logged.push({ level, fields, message })
  const http = createHttpApp({
    engine: double.engine,
    auth,
    log: { debug: logger('debug'), info: logger('info'), warn: logger('warn'), error: logger('error') },
    bindHost: '127.0.0.1',
    allowedHosts: [],
    insecureHttp: false,
    validateAnswers: true,
    ...overrides,
  })
  await http.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = http.app.server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`

  /** From another address than the rig's own client has. */
  const signInDirectly = (name: string, password: string, from: string) =>
    auth.signIns.password({ name, password, realm: 'local' }, { from, device: 'test' })

  /** A person with a session cookie and an API token, made without the API. */
  const person = async (name: string, role: z.output<typeof Role>) => {
    const user = await auth.users.create({ name, password: PASSWORD, role })
    const signedIn = await signInDirectly(name, PASSWORD, '10.0.0.1')
    if ('challenge' in signedIn) throw new Error('asked for a second factor')
    const cookieSecret = signedIn.secret
    const caller = auth.callerOfSession(cookieSecret, '10.0.0.1')
    if (!caller) throw new Error('no session')
    const { token } = auth.account.tokenCreate(caller, { label: 'test' })
    return {
      user,
      token,
      cookieSecret,
      tokenKey: tokenKey(token),
      sessionKey: sessionKey(cookieSecret),
      bearer: { authorization: `Bearer ${token}` },
      cookie: { cookie: `__Host-guestdeck=${cookieSecret}`, origin },
    }
  }
  const json = (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
    send(port, method, path, {
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })

  return {
    ...double,
    auth,
    store,
    dir,
    paths,
    http,
    port,
    origin,
    logged,
    person,
    signInDirectly,
    json,
    get: (path: string, headers: Record<string, string> = {}) => send(port, 'GET', path, { headers }),
    send: (method: string, path: string, options: RequestOptions = {}) => send(port, method, path, options),
    raw: (bytes: string | Buffer, waitMs?: number) => sendRaw(port, bytes, waitMs),
    async stop() {
      http.events.close()
      http.app.server.closeAllConnections()
      await http.app.close()
      auth.close()
      store.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
export type Rig = Awaited<ReturnType<typeof startRig>>

/** Reads a stream to its end, for doubles that take uploads. */
export async function drain(stream: Readable): Promise<number> {
  let bytes = 0
  for await (const chunk of stream) bytes += (chunk as Buffer).length
  return bytes
}
