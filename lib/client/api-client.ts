/** The browser's client of `/api/v1`, typed by the contract (types only: no schema reaches the bundle). */
import type * as z from 'zod'
import type { OperationId, Operations } from '#lib/api/contract.ts'
import type { ApiErrorBody, ErrorCode } from '#lib/schema/error.ts'
import { ROUTES } from './routes.ts'

export const API_BASE = '/api/v1'

type Has<K extends OperationId, F extends string> =
  Operations[K] extends Record<F, infer S extends z.ZodType> ? z.input<S> : never
type Field<F extends string, T> = [T] extends [never]
  ? unknown
  : Record<never, never> extends T
    ? { readonly [P in F]?: T }
    : { readonly [P in F]: T }

/** What a call of operation `K` takes: `params`, `query` and `body` exactly where the contract has them. */
export type CallInput<K extends OperationId> = Field<'params', Has<K, 'params'>> &
  Field<'query', Has<K, 'query'>> &
  Field<'body', Has<K, 'body'>>

/** What operation `K` answers; `undefined` for 204. */
export type CallOutput<K extends OperationId> = Operations[K] extends { response: infer R extends z.ZodType }
  ? z.output<R>
  : undefined

/** The loosest view of an input, for code that handles any operation. */
interface AnyInput {
  readonly params?: Readonly<Record<string, unknown>>
  readonly query?: Readonly<Record<string, unknown>>
  readonly body?: unknown
}

export type ApiErrorCode = ErrorCode | 'network'

/** Every failed call. `status` 0 and code `network`: no answer came. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ApiErrorCode
  readonly status: number
  /** Dotted path of the input at fault, for example `disks.0.image`. */
  readonly field: string | undefined
  readonly details: unknown
  readonly requestId: string | undefined

  constructor(init: {
    code: ApiErrorCode
    message: string
    status: number
    field?: string | undefined
    details?: unknown
    requestId?: string | undefined
  }) {
    super(init.message)
    this.code = init.code
    this.status = init.status
    this.field = init.field
    this.details = init.details
    this.requestId = init.requestId
  }
}

/** Any thrown value as an ApiError, so that whoever shows it has one shape to deal with. */
export function toApiError(cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause
  return new ApiError({ code: 'internal', status: 0, message: cause instanceof Error ? cause.message : String(cause) })
}

/** Path and query of an operation, relative to the origin. Every value is escaped. */
export function operationUrl<K extends OperationId>(id: K, input: CallInput<K>): string {
  // The conditional type above cannot be narrowed generically; this is its widest form.
  const { params = {}, query = {} } = input as AnyInput
  const path = ROUTES[id][1].replace(/:([a-z]+)/gi, (_, name: string) => encodeURIComponent(String(params[name])))
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  const text = search.toString()
  return `${API_BASE}${path}${text && `?${text}`}`
}

type SignedOutListener = () => void
let onSignedOut: SignedOutListener = () => {}
/** Called when an answer says that nobody is signed in any more. */
export const setSignedOutListener = (listener: SignedOutListener) => {
  onSignedOut = listener
}

const errorFrom = async (response: Response): Promise<ApiError> => {
  const text = await response.text().catch(() => '')
  try {
    const { error } = JSON.parse(text) as ApiErrorBody
    return new ApiError({ ...error, status: response.status })
  } catch {
    return new ApiError({
      code: 'internal',
      status: response.status,
      message: `The server answered ${response.status} without an explanation.`,
    })
  }
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Revision seen; sent as `If-Match`, so that a newer version is never overwritten. */
  readonly ifMatch?: number | undefined
}

/** Calls an operation. @throws ApiError, or an AbortError when `signal` ends it. */
export async function call<K extends OperationId>(
  id: K,
  input: CallInput<K>,
  { signal, ifMatch }: CallOptions = {},
): Promise<CallOutput<K>> {
  const { body } = input as AnyInput
  const headers: Record<string, string> = { accept: 'application/json' }
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (ifMatch !== undefined) headers['if-match'] = `"${ifMatch}"`
  let response: Response
  try {
    response = await fetch(operationUrl(id, input), {
      method: ROUTES[id][0],
      headers,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    })
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw new ApiError({
      code: 'network',
      status: 0,
      message: 'The dashboard does not answer. Guests keep running; this page tries again by itself.',
    })
  }
  if (!response.ok) {
    const error = await errorFrom(response)
    if (error.code === 'unauthenticated') onSignedOut()
    throw error
  }
  if (response.status === 204) return undefined as CallOutput<K>
  return (await response.json()) as CallOutput<K>
}
