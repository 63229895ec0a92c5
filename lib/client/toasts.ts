/** Messages at the edge of the page, for failures of bare actions and things that happened elsewhere. */
import { toApiError } from './api-client.ts'
import { createStore } from './store.ts'

export interface Toast {
  readonly id: number
  readonly kind: 'error' | 'info' | 'done'
  /** What happened. */
  readonly title: string
  /** Why, and what to do now. */
  readonly message?: string | undefined
  /** Evidence, shown on demand. */
  readonly details?: string | undefined
  readonly action?: { readonly label: string; readonly run: () => void } | undefined
}

export const toasts = createStore<readonly Toast[]>([])
let nextId = 1

/** Shows a toast; errors stay until dismissed, the rest for `seconds`. Returns its id. */
export function showToast(toast: Omit<Toast, 'id'>, seconds = toast.kind === 'error' ? 0 : 6): number {
  const id = nextId++
  // At most four: older ones have been seen or are beyond help.
  toasts.set((list) => [...list.slice(-3), { ...toast, id }])
  if (seconds > 0) setTimeout(() => dismissToast(id), seconds * 1000)
  return id
}

export const dismissToast = (id: number) => toasts.set((list) => list.filter((toast) => toast.id !== id))

/** Reports a failed action. `title` says what was attempted ("web-1 was not started"); the error says why. */
export function toastError(cause: unknown, title: string): number {
  const error = toApiError(cause)
  // Signing in again answers this one; a toast beside the sign-in page would only repeat it.
  if (error.code === 'unauthenticated') return 0
  return showToast({ kind: 'error', title, message: error.message, details: describeDetails(error) })
}

/** Evidence of an error as text: details, then code and request id. */
export function describeDetails(cause: unknown): string {
  const error = toApiError(cause)
  const lines: string[] = []
  if (typeof error.details === 'string') lines.push(error.details)
  else if (error.details && typeof error.details === 'object')
    for (const [name, value] of Object.entries(error.details))
      lines.push(`${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  lines.push(`code: ${error.code}${error.status ? ` (${error.status})` : ''}`)
  if (error.requestId) lines.push(`request: ${error.requestId}`)
  return lines.join('\n')
}
