/** Who may see and do what with a VM. The HTTP side has checked the operation's privilege; this is about the object. */
import { type Authority, coversVm, may, type Privilege, seesAllVms } from '#lib/auth/privileges.ts'
import type { Vm, VmState } from '#lib/schema/vm-state.ts'
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

/** @param vm without its id, a token for some VMs does not see it */
export const canSeeVm = (
  caller: Pick<Caller, 'role' | 'userId' | 'scope'>,
  vm: { readonly ownerId: string; readonly id?: string },
): boolean => (seesAllVms(caller.role) || vm.ownerId === caller.userId) && coversVm(caller, vm.id)

/** A missing VM and somebody else's are the same answer. @throws EngineError not_found */
export function requireVm(records: VmRecords, caller: Caller, id: string): VmRecord {
  const record = records.get(id)
  if (record === null || !canSeeVm(caller, record)) throw new EngineError('not_found', 'There is no such VM.')
  return record
}

/** State decides what is possible, the caller what is permitted; the first refusal that a caller cannot mend wins. */
export function actionsFor(caller: Authority, state: VmState): Vm['actions'] {
  const entries = VM_ACTIONS.map((action) => [
    action,
    may(caller, NEEDED[action]) ? allowedAction(state, action) : { allowed: false, reason: LOOK_ONLY },
  ])
  // The keys are exactly VM_ACTIONS, which fromEntries cannot express.
  return Object.fromEntries(entries) as Vm['actions']
}
