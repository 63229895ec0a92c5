/** Who may see and do what with a VM. The HTTP side has checked the operation's privilege; this is about the object. */
import { PRIVILEGES, type Privilege, privilegesOn } from '#lib/auth/privileges.ts'
import { TEMPLATE_STAYS_OFF } from '#lib/clones/rules.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { allowedAction, VM_ACTIONS, type VmAction } from '#lib/vm/actions.ts'
import { EngineError } from './errors.ts'
import type { Caller } from './types.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export const LOOK_ONLY = 'You may look but not change.'

const NEEDED: Readonly<Record<VmAction, Privilege>> = {
  start: 'vm.power',
  shutdown: 'vm.power',
  poweroff: 'vm.power',
  reset: 'vm.power',
  pause: 'vm.power',
  resume: 'vm.power',
  change: 'vm.change',
  delete: 'vm.delete',
  console: 'vm.console.view',
}

/**
 * @param vm without its id, a token for some VMs does not see it, nor anybody by a project or a share
 */
export const canSeeVm = (
  caller: Pick<Caller, 'role' | 'userId' | 'scope' | 'grants'>,
  vm: { readonly ownerId: string; readonly id?: string },
): boolean => privilegesOn(caller, vm).size > 0

/** A missing VM and somebody else's are the same answer. @throws EngineError not_found */
export function requireVm(records: VmRecords, caller: Caller, id: string): VmRecord {
  const record = records.get(id)
  if (record === null || !canSeeVm(caller, record)) throw new EngineError('not_found', 'There is no such VM.')
  return record
}

/** What somebody may do with a VM, as its view depends on it: everybody with the same gets the same view. */
export interface Viewpoint {
  readonly key: string
  readonly privileges: ReadonlySet<Privilege>
}
const viewpoints = new WeakMap<ReadonlySet<Privilege>, Viewpoint>()
export function viewpointOf(privileges: ReadonlySet<Privilege>): Viewpoint {
  let viewpoint = viewpoints.get(privileges)
  if (viewpoint === undefined) {
    viewpoint = { key: [...privileges].sort().join(), privileges }
    viewpoints.set(privileges, viewpoint)
  }
  return viewpoint
}
/** What the event hub carries. */
export const EVERYTHING = viewpointOf(new Set(PRIVILEGES))

/** State decides what is possible, the caller what is permitted; the first refusal that a caller cannot mend wins. */
export function actionsFor(
  { privileges }: Pick<Viewpoint, 'privileges'>,
  { state, template, lab, diskPause }: Pick<Vm, 'state' | 'template' | 'lab' | 'diskPause'>,
): Vm['actions'] {
  const refusal = template === undefined ? (lab?.blocked ?? null) : TEMPLATE_STAYS_OFF
  const entries = VM_ACTIONS.map((action) => {
    if (!privileges.has(NEEDED[action])) return [action, { allowed: false, reason: LOOK_ONLY }]
    const answer = allowedAction(state, action)
    const starts = action === 'start' || action === 'resume'
    if (starts && answer.allowed && refusal !== null) return [action, { allowed: false, reason: refusal }]
    // One that would go on by itself can be told to stay.
    if (action === 'pause' && diskPause?.resumesItself === true && allowedAction(state, 'resume').allowed)
      return [action, { allowed: true, reason: null }]
    return [action, answer]
  })
  // The keys are exactly VM_ACTIONS, which fromEntries cannot express.
  return Object.fromEntries(entries) as Vm['actions']
}
