/** The only place where an error code becomes an HTTP status and a body. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type * as z from 'zod'
import { type ApiErrorBody, ERROR_STATUS, type ErrorCode } from '#lib/schema/error.ts'
import { EngineError, type JsonValue } from '#server/engine/errors.ts'

const INTERNAL = 'Something went wrong inside Guestdeck. The server log has the details under this request id.'

export function errorBody(
  code: ErrorCode,
  message: string,
  requestId: string,
  extra: { field?: string | undefined; details?: JsonValue | undefined } = {},
): ApiErrorBody {
  return {
    error: {
      code,
      message,
      ...(extra.field !== undefined && { field: extra.field }),
      ...(extra.details !== undefined && { details: extra.details }),
      requestId,
    },
  }
}

/** What Fastify itself refuses, in our words. */
function fromFastify(error: FastifyError): EngineError | null {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new EngineError('too_large', 'The request body is larger than 256 KiB.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new EngineError('unsupported_media_type', 'Send the body as application/json.')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new EngineError('bad_input', 'The request body is incomplete.')
    case 'FST_ERR_BAD_URL':
      return new EngineError('bad_input', 'The URL is malformed.')
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new EngineError('not_found', 'There is no such thing.')
    default:
      return error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
        ? new EngineError('bad_input', 'The request is malformed.')
        : null
  }
}

/** zod's issue as one of ours; `where` names the part of the request for messages. */
export function fromIssues(issues: readonly z.core.$ZodIssue[]): EngineError {
  const issue = deepest(issues[0])
  if (!issue) return new EngineError('bad_input', 'The input is not valid.')
  if (issue.code === 'unrecognized_keys') {
    const field = [...issue.path, issue.keys[0] ?? ''].map(String).join('.')
    return new EngineError('unknown_field', `There is no field called ${JSON.stringify(field)}.`, { field })
  }
  const field = issue.path.map(String).join('.')
  // JSON has no undefined: what zod calls so was not sent. An answer that names it would puzzle everybody else.
  if (field !== '' && issue.code === 'invalid_type' && /received undefined$/.test(issue.message)) {
    return new EngineError('bad_input', `${field} is missing: send a value of type ${issue.expected}.`, { field })
  }
  const what = issue.message.charAt(0).toLowerCase() + issue.message.slice(1)
  const options = field === '' ? {} : { field }
  return new EngineError('bad_input', `${field === '' ? 'The input' : field}: ${what}.`, options)
}

/** Of a union that matched nothing, the issue of the alternative that came furthest. */
function deepest(issue: z.core.$ZodIssue | undefined): z.core.$ZodIssue | undefined {
  if (issue?.code !== 'invalid_union') return issue
  let best: z.core.$ZodIssue = issue
  for (const branch of issue.errors) {
    const inner = deepest(branch[0])
    if (inner && inner.path.length + issue.path.length > best.path.length) {
      best = { ...inner, path: [...issue.path, ...inner.path] }
    }
  }
  return best
}

/** Null: nothing that may be shown. */
export function toEngineError(error: unknown): EngineError | null {
  if (error instanceof EngineError) return error
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('FST_')) {
    return fromFastify(error as FastifyError)
  }
  return null
}

export interface ErrorLog {
  error(fields: object, message: string): void
}

export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: ErrorLog): FastifyReply {
  const known = toEngineError(error)
  const code: ErrorCode = known?.code ?? 'internal'
  const status = ERROR_STATUS[code]
  if (!known || status === 500) log.error({ err: error, requestId: request.id }, 'request failed')
  if (known?.code === 'rate_limited' && known.details !== null && typeof known.details === 'object') {
    const after = 'retryAfterSeconds' in known.details ? known.details.retryAfterSeconds : 1
    reply.header('retry-after', String(after))
  }
  if (code === 'unauthenticated') reply.header('www-authenticate', 'Bearer')
  const body = known
    ? errorBody(code, known.message, request.id, { field: known.field, details: known.details })
    : errorBody('internal', INTERNAL, request.id)
  return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body))
}

export function registerErrors(app: FastifyInstance, log: ErrorLog): void {
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, log))
}
