/**
 * State → allowed actions with reasons. The engine refuses by it, the pages disable by it, so a button and
 * the API never disagree. Whether the *caller* may is decided by privilege, not here.
 */
import type { PowerAction, VmState } from '../schema/vm-state.ts'

export type VmAction = PowerAction | 'change' | 'delete' | 'console'
export interface Allowed {
  readonly allowed: boolean
  /** Why not, as a sentence for people; null when allowed. */
  readonly reason: string | null
}

const YES: Allowed = { allowed: true, reason: null }
const no = (reason: string): Allowed => ({ allowed: false, reason })

const OFF_LIKE: ReadonlySet<VmState> = new Set(['off', 'crashed'])

/** Pure; `crashed` counts as off for everything but its look. */
export function allowedAction(state: VmState, action: VmAction): Allowed {
  switch (action) {
    case 'change':
      return YES
    case 'console':
      return OFF_LIKE.has(state) || state === 'unmanageable' ? no('The guest is off.') : YES
    case 'delete':
      return OFF_LIKE.has(state) ? YES : no('Shut the guest down first.')
    case 'start':
      if (OFF_LIKE.has(state)) return YES
      if (state === 'unmanageable') return no('Its QEMU process does not answer; cut its power first.')
      return no('It is not off.')
    case 'shutdown':
      if (state === 'running') return YES
      if (state === 'paused') return no('Resume the guest first: a paused guest cannot shut itself down.')
      if (state === 'stopping') return no('It is already shutting down.')
      return no(state === 'unmanageable' ? 'Its QEMU process does not answer.' : 'It is not running.')
    case 'poweroff':
      return OFF_LIKE.has(state) ? no('It is already off.') : YES
    case 'reset':
      return state === 'running' || state === 'paused' || state === 'stopping' ? YES : no('It is not running.')
    case 'pause':
      if (state === 'running') return YES
      return no(state === 'paused' ? 'It is already paused.' : 'It is not running.')
    case 'resume':
      return state === 'paused' ? YES : no('It is not paused.')
  }
}

export const VM_ACTIONS: readonly VmAction[] = [
  'start',
  'shutdown',
  'poweroff',
  'reset',
  'pause',
  'resume',
  'change',
  'delete',
  'console',
]
