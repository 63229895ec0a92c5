/** Things begun and to be finished soon by whoever holds their random id: kept in memory, bounded, single-use. */
import { randomBytes } from 'node:crypto'

export interface Flows<T> {
  begin(value: T): string
  /** Leaves it there. Null when unknown or too old. */
  look(id: string): T | null
  /** Takes it, so that it cannot be used again. */
  take(id: string): T | null
}

export function createFlows<T>(
  limits: { readonly keepMs: number; readonly max: number },
  now: () => number = () => performance.now(),
): Flows<T> {
  const open = new Map<string, { readonly value: T; readonly until: number }>()
  const look = (id: string): T | null => {
    const entry = open.get(id)
    if (entry === undefined) return null
    if (entry.until > now()) return entry.value
    open.delete(id)
    return null
  }
  return {
    begin(value) {
      for (const [id, { until }] of open) {
        // In the order of their beginning: the first that is still good ends the look.
        if (until > now() && open.size < limits.max) break
        open.delete(id)
      }
      const id = randomBytes(24).toString('base64url')
      open.set(id, { value, until: now() + limits.keepMs })
      return id
    },
    look,
    take(id) {
      const value = look(id)
      open.delete(id)
      return value
    },
  }
}
