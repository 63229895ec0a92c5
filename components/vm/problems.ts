/** What the server says is wrong with a draft, by field. Pure. */
import type { ApiError } from '#lib/client/api-client.ts'

export interface FieldProblem {
  /** Dotted path; empty when no field is at fault. */
  readonly field: string
  readonly message: string
}

/** `disks.0.image` → `/disks/0/image`. */
export const pointerOf = (field: string) => `/${field.replaceAll('.', '/')}`

/** What the server says is wrong: one message, or several with their fields in the details. */
export function problemsOf(error: ApiError): FieldProblem[] {
  const listed = error.details
  if (typeof listed === 'object' && listed !== null && 'problems' in listed && Array.isArray(listed.problems)) {
    const found = listed.problems.flatMap((entry: unknown): FieldProblem[] =>
      typeof entry === 'object' &&
      entry !== null &&
      'field' in entry &&
      'message' in entry &&
      typeof entry.field === 'string' &&
      typeof entry.message === 'string'
        ? [{ field: entry.field, message: entry.message }]
        : [],
    )
    if (found.length > 0) return found
  }
  const field = error.field ?? ''
  return [{ field, message: withoutField(error.message, field) }]
}

/** `name: starts with…` → `Starts with…`: the message stands at its field already. */
function withoutField(message: string, field: string): string {
  if (field === '' || !message.startsWith(`${field}: `)) return message
  const rest = message.slice(field.length + 2)
  return rest.charAt(0).toUpperCase() + rest.slice(1)
}
