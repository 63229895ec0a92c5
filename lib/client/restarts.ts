/** VMs this page asked to restart and that are still shutting down: the server starts them, the page only says so. */
import { createStore } from './store.ts'

export const restarts = createStore<ReadonlySet<string>>(new Set())

export const noteRestart = (id: string) => restarts.set((ids) => new Set(ids).add(id))

export const forgetRestart = (id: string) =>
  restarts.set((ids) => {
    if (!ids.has(id)) return ids
    const rest = new Set(ids)
    rest.delete(id)
    return rest
  })
