/** The closed error type of the engine. Domain code throws it; `http/plugins/errors.ts` alone turns it into HTTP. */
import type { ErrorCode } from '#lib/schema/error.ts'

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue }

export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: ErrorCode
  /** Dotted path of the input at fault, when one is. */
  readonly field: string | undefined
  /** Safe to show: no host paths, no argv. */
  readonly details: JsonValue | undefined

  /** @param message one sentence for people: what happened, why, what to do. */
  constructor(
    code: ErrorCode,
    message: string,
    options: { field?: string; details?: JsonValue; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.field = options.field
    this.details = options.details
  }
}
