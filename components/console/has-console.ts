import type { VmState } from '#lib/schema/vm-state.ts'

/** Whether a guest in this state has consoles to connect to. */
export function hasConsole(state: VmState): boolean {
  return (
    state === 'running' || state === 'paused' || state === 'stopping' || state === 'saving' || state === 'migrating'
  )
}
