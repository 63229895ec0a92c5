/** What one operation of the API declares. */
import * as z from 'zod'
import type { RoutePrivilege } from '../auth/privileges.ts'
import type { ErrorCode } from '../schema/error.ts'

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly summary: string
  readonly privilege: RoutePrivilege
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  /** JSON body. Absent: the operation takes none (an empty object is tolerated). */
  readonly body?: z.ZodType
  /** JSON answer. Absent together with `raw`: answers 204. */
  readonly response?: z.ZodType
  readonly status?: 200 | 201 | 202 | 204
  /** Media type of an answer that is not JSON. */
  readonly raw?: string
  /** The body is a byte stream of this media type. */
  readonly stream?: 'application/octet-stream' | 'application/offset+octet-stream'
  /** Needs `If-Match: "<revision>"` when the caller sends it; refused with `stale_revision` when it differs. */
  readonly revisioned?: true
  /** Domain errors beyond those every operation can answer (input, sign-in, privilege, not found, rate, internal). */
  readonly errors?: readonly ErrorCode[]
}

/** Keeps the literal types of what is declared. */
export const op = <const O extends Operation>(o: O): O => o
export const Items = <T extends z.ZodType>(item: T) => z.strictObject({ items: z.array(item) })
