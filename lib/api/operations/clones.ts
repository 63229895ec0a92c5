/** Operations: clones of VMs, and templates. */
import * as z from 'zod'
import { CloneFacts, CloneInput, TemplateInput } from '../../schema/clone.ts'
import { VmId } from '../../schema/ids.ts'
import { Job } from '../../schema/job.ts'
import { Vm } from '../../schema/vm-state.ts'
import { type Operation, op } from '../operation.ts'

const vmId = z.strictObject({ id: VmId })

export const clonesOperations = {
  vmCloneFacts: op({
    method: 'GET',
    path: '/vms/:id/clones',
    summary: 'What can be cloned of a VM and what that costs; which VMs stand on the same disk files',
    privilege: 'vm.view',
    params: vmId,
    response: CloneFacts,
  }),
  vmClone: op({
    method: 'POST',
    path: '/vms/:id/clones',
    summary: 'Make one or several VMs of this one, linked to its disks or with copies of them',
    privilege: 'vm.create',
    params: vmId,
    body: CloneInput,
    response: Job,
    status: 202,
    errors: ['quota_exceeded', 'conflict', 'wrong_state', 'vm_busy', 'name_taken', 'image_missing', 'no_space'],
  }),
  vmTemplateSet: op({
    method: 'POST',
    path: '/vms/:id/template',
    summary: 'Make a VM a template, which is cloned and never started, or an ordinary VM again',
    privilege: 'vm.change',
    params: vmId,
    body: TemplateInput,
    response: Vm,
    errors: ['conflict', 'wrong_state', 'vm_busy', 'in_use'],
  }),
} as const satisfies Record<string, Operation>
