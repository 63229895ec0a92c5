/**
 * Registers every operation of the contract: privilege first, then parsing, then the handler, then the answer.
 * An operation without a handler, or a handler without an operation, fails at start (and in the type checker).
 */
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { API_BASE, type Operation, type OperationId, type Operations, operations } from '#lib/api/contract.ts'
import { type AboutKind, objectOf } from '#lib/api/object-of.ts'
import { mayCall, type Privilege } from '#lib/auth/privileges.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller } from '#server/engine/types.ts'
import { sendJson } from '#server/http/compression.ts'
import { fromIssues } from '#server/http/plugins/errors.ts'

type Part<K extends OperationId, P extends 'params' | 'query' | 'body'> = Operations[K] extends {
  [key in P]: infer S extends z.ZodType
}
  ? z.output<S>
  : undefined
type Answer<K extends OperationId> = Operations[K] extends { response: infer R extends z.ZodType }
  ? z.output<R>
  : Operations[K] extends { raw: string }
    ? Buffer | RawAnswer
    : // biome-ignore lint/suspicious/noConfusingVoidType: a handler that answers nothing returns a Promise<void>
      void

export interface Call<K extends OperationId> {
  /** Null only for public operations. */
  readonly caller: Operations[K]['privilege'] extends 'public' ? Caller | null : Caller
  readonly params: Part<K, 'params'>
  readonly query: Part<K, 'query'>
  readonly body: Part<K, 'body'>
  /** Of `If-Match`; null when the caller did not say. */
  readonly expectedRevision: number | null
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}
type Answered<K extends OperationId> = Answer<K> | (Operations[K] extends { response: z.ZodType } ? JsonText : never)
export type Handlers = { readonly [K in OperationId]: (call: Call<K>) => Promise<Answered<K>> | Answered<K> }

export interface RouteOptions {
  identify(request: FastifyRequest): Caller | null
  assertOwnPage(request: FastifyRequest, byCookie: boolean): void
  /** Called when a privilege was missing. */
  /** @param about the object that the caller reaches; null: none, or one they may not know of */
  onDenied(operation: OperationId, caller: Caller, about: { kind: AboutKind; id: string } | null): void
  /** Whether the caller may do this with the object the path names. @throws EngineError not_found, forbidden */
  authorize(caller: Caller, privilege: Privilege, kind: AboutKind, id: string): void | Promise<void>
  /** Check each answer against its schema: in tests and development. */
  validateAnswers: boolean
}

const NO_QUERY = z.strictObject({})
const NO_BODY = z.strictObject({})
const JSON_TYPE = 'application/json'

/** @throws EngineError bad_input */
function ifMatch(header: string | undefined): number | null {
  if (header === undefined || header === '*') return null
  const revision = /^"(\d{1,15})"$/.exec(header)?.[1]
  if (revision === undefined) {
    throw new EngineError('bad_input', 'If-Match: must be the revision in double quotes, for example "3".', {
      field: 'If-Match',
    })
  }
  return Number(revision)
}

/** @throws EngineError bad_input, unknown_field */
function parse(schema: z.ZodType, input: unknown): unknown {
  const result = schema.safeParse(input)
  if (!result.success) throw fromIssues(result.error.issues)
  return result.data
}

/** An answer that is JSON text already, put together from cached pieces: the long list of VMs. */
export class JsonText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function refusal(caller: Caller, operation: Operation): EngineError {
  if (caller.enrolling === true) {
    return new EngineError('second_factor_needed', 'Set up a second factor on your account page first.')
  }
  if (operation.privilege === 'account') {
    return new EngineError('forbidden', 'An API token cannot do this; sign in as a person for that.')
  }
  return (caller.scope ?? null) === null
    ? new EngineError('forbidden', `Your role (${caller.role}) does not allow this.`)
    : new EngineError('forbidden', 'This API token does not allow this.')
}

/** An answer that is no JSON and has a status, headers or a length of its own. */
export class RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readable | null
  constructor(status: number, headers: Readonly<Record<string, string>>, body: Readable | null) {
    this.status = status
    this.headers = headers
    this.body = body
  }
}

/** The caller, once identified; kept beside the request rather than on it. */
const callers = new WeakMap<FastifyRequest, Caller>()

export function registerOperations(app: FastifyInstance, handlers: Handlers, options: RouteOptions): void {
  const missing = Object.keys(operations).filter((id) => !(id in handlers))
  const stray = Object.keys(handlers).filter((id) => !(id in operations))
  if (missing.length > 0) throw new Error(`operations without a handler: ${missing.join(', ')}`)
  if (stray.length > 0) throw new Error(`handlers without an operation: ${stray.join(', ')}`)

  for (const id of Object.keys(operations) as OperationId[]) {
    // One signature for all: what each handler gets was parsed by the schemas its own type was made from.
    const handle = handlers[id] as unknown as (call: object) => Promise<unknown>
    registerOperation(app, id, operations[id], handle, options)
  }
}

function registerOperation(
  app: FastifyInstance,
  id: OperationId,
  operation: Operation,
  handle: (call: object) => Promise<unknown>,
  options: RouteOptions,
): void {
  const changes = operation.method !== 'GET'
  const about = objectOf(operation)
  app.route({
    method: operation.method,
    url: API_BASE + operation.path,
    ...(operation.stream !== undefined && { bodyLimit: Number.MAX_SAFE_INTEGER }),
    config: { operation: id },
    onRequest: async (request) => {
      const caller = options.identify(request)
      if (changes && caller?.via !== 'token') options.assertOwnPage(request, caller !== null)
      if (operation.privilege !== 'public') {
        if (!caller) throw new EngineError('unauthenticated', 'Sign in first.')
        if (!mayCall(caller, operation)) {
          options.onDenied(id, caller, null)
          throw refusal(caller, operation)
        }
      }
      if (caller) callers.set(request, caller)
      const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
      if (operation.method === 'PUT' && operation.stream !== undefined && type === undefined) {
        // curl -T names no type. No page can send that elsewhere: a browser asks first for every PUT.
        request.raw.headers['content-type'] = operation.stream
        return
      }
      if (operation.stream !== undefined ? type !== operation.stream : type !== undefined && type !== JSON_TYPE) {
        const wanted = operation.stream ?? JSON_TYPE
        throw new EngineError('unsupported_media_type', `Send the body as ${wanted}.`)
      }
    },
    handler: async (request, reply) => {
      const params = operation.params?.safeParse(request.params)
      // An id that cannot exist is answered like one that does not.
      if (params && !params.success) throw new EngineError('not_found', 'There is no such thing.')
      const caller = callers.get(request) ?? null
      const named = (params?.data as { id?: string } | undefined)?.id
      if (about !== null && caller !== null && named !== undefined) {
        // Those that roles give; the others are about no object.
        const privilege = operation.privilege as Privilege
        try {
          await options.authorize(caller, privilege, about, named)
        } catch (error) {
          if (error instanceof EngineError && error.code === 'forbidden')
            options.onDenied(id, caller, { kind: about, id: named })
          throw error
        }
      }
      const query = parse(operation.query ?? NO_QUERY, { ...(request.query as object) })
      let body: unknown
      if (operation.body) body = parse(operation.body, request.body ?? {})
      else if (operation.stream === undefined) parse(NO_BODY, request.body ?? {})
      const answer = await handle({
        caller,
        params: params?.data,
        query: operation.query ? query : undefined,
        body,
        expectedRevision: operation.revisioned ? ifMatch(request.headers['if-match']) : null,
        request,
        reply,
      })
      reply.code(operation.status ?? (operation.response || operation.raw ? 200 : 204))
      if (answer instanceof RawAnswer) {
        return reply
          .code(answer.status)
          .headers({ 'content-type': operation.raw, ...answer.headers })
          .send(answer.body ?? '')
      }
      if (operation.raw !== undefined) return reply.type(operation.raw).send(answer)
      if (!operation.response) return reply.send()
      if (options.validateAnswers) {
        const checked = operation.response.safeParse(answer instanceof JsonText ? JSON.parse(answer.text) : answer)
        if (!checked.success) throw new Error(`${id} answered against its schema: ${checked.error.message}`)
      }
      return sendJson(request, reply, answer instanceof JsonText ? answer.text : JSON.stringify(answer))
    },
  })
}
