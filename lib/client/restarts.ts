/**
 * VMs to be started again once they are off. The API has no such order (a guest may take its time, or refuse), so the
 * page that asked waits; the event bridge starts them.
 */
import { createStore } from './store.ts'

export const restarts = createStore<ReadonlySet<string>>(new Set())

export const restartWhenOff = (id: string) => restarts.set((ids) => new Set(ids).add(id))

export const forgetRestart = (id: string) =>
  restarts.set((ids) => {
    if (!ids.has(id)) return ids
    const rest = new Set(ids)
    rest.delete(id)
    return rest
  })
