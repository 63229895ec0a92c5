/** Operations: VMs. */
import * as z from 'zod'
import { CommandLine } from '../../schema/command-line.ts'
import { ActivityEntry } from '../../schema/event.ts'
import { ProjectId, VmId } from '../../schema/ids.ts'
import { SeedInput } from '../../schema/seed.ts'
import { VmChangePreview, VmDevices } from '../../schema/vm-devices.ts'
import { VmSpecInput, VmSpecPatch } from '../../schema/vm-spec.ts'
import { Vm } from '../../schema/vm-state.ts'
import { Items, type Operation, op } from '../operation.ts'

const vmId = z.strictObject({ id: VmId })

/** The definition, and what its first start is to set up. */
export const VmCreateInput = z
  .strictObject({
    ...VmSpecInput.shape,
    seed: SeedInput.optional(),
    /** Whose it is to be; left out: the caller's own. */
    project: ProjectId.optional(),
  })
  .meta({ id: 'VmCreateInput' })
export type VmCreateInput = z.output<typeof VmCreateInput>

const START_ERRORS = [
  'wrong_state',
  'launch_failed',
  'accelerator_unusable',
  'image_missing',
  'image_in_use',
  'port_in_use',
  'no_space',
  'busy',
  'vm_busy',
  'volume_missing',
  'pool_unavailable',
  'quota_exceeded',
  'no_memory',
  'no_cpus',
] as const

export const ConsoleTicketInput = z
  .strictObject({
    kind: z.enum(['vnc', 'serial']),
    mode: z.enum(['control', 'view']),
    /** Text messages beside the bytes: who is there, who has control, what is recorded; and wishes about it. */
    presence: z.boolean().default(false),
  })
  .meta({ id: 'ConsoleTicketInput' })
export const ConsoleTicket = z
  .strictObject({
    /** Send as a WebSocket subprotocol beside `binary`; works once, within 30 seconds. */
    ticket: z.string(),
    /** Path of the WebSocket, to be joined to the page's own origin. */
    path: z.string(),
    /** Id of this viewer among those at the console. */
    viewer: z.string(),
    mode: z.enum(['control', 'view']),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'ConsoleTicket' })

export const vmsOperations = {
  vmList: op({
    method: 'GET',
    path: '/vms',
    summary: 'The VMs the caller may see',
    privilege: 'vm.view',
    response: Items(Vm),
  }),
  vmCreate: op({
    method: 'POST',
    path: '/vms',
    summary: 'Create a VM; everything but the name has a default',
    privilege: 'vm.create',
    body: VmCreateInput,
    response: Vm,
    status: 201,
    errors: ['name_taken', 'image_missing', 'no_space', 'port_in_use', 'quota_exceeded'],
  }),
  vmPreview: op({
    method: 'POST',
    path: '/vms/preview',
    summary: 'What a VM created from this input would be and run, without creating it',
    privilege: 'vm.create',
    body: VmCreateInput,
    response: z.strictObject({ spec: Vm.shape.spec, commandLine: CommandLine }).meta({ id: 'VmPreview' }),
  }),
  vmView: op({ method: 'GET', path: '/vms/:id', summary: 'One VM', privilege: 'vm.view', params: vmId, response: Vm }),
  vmUpdate: op({
    method: 'PATCH',
    path: '/vms/:id',
    summary:
      'Change a VM. A running guest gets at once what it can take; the rest is pending. An empty change applies what was left',
    privilege: 'vm.change',
    params: vmId,
    query: z.strictObject({
      /** `next-start`: only the definition changes, the running guest does not. */
      apply: z.enum(['now', 'next-start']).default('now'),
    }),
    body: VmSpecPatch,
    response: Vm,
    revisioned: true,
    errors: [
      'no_memory',
      'no_cpus',
      'stale_revision',
      'name_taken',
      'image_missing',
      'image_in_use',
      'port_in_use',
      'no_space',
      'conflict',
      'busy',
      'vm_busy',
      'unresponsive',
    ],
  }),
  vmChangePreview: op({
    method: 'POST',
    path: '/vms/:id/preview',
    summary: 'What a change would do: the definition, what the guest gets when, the command line. Changes nothing',
    privilege: 'vm.change',
    params: vmId,
    body: VmSpecPatch,
    response: VmChangePreview,
    errors: ['name_taken', 'image_missing', 'port_in_use', 'conflict'],
  }),
  vmDelete: op({
    method: 'DELETE',
    path: '/vms/:id',
    summary: 'Delete a VM that is off; its own disks go to the trash, library images stay',
    privilege: 'vm.delete',
    params: vmId,
    query: z.strictObject({
      /** `delete`: its disks go at once and for good; `keep`: they become free disks. */
      disks: z.enum(['trash', 'delete', 'keep']).default('trash'),
    }),
    status: 204,
    revisioned: true,
    errors: ['wrong_state', 'stale_revision', 'vm_busy', 'in_use'],
  }),
  vmFirmwareReset: op({
    method: 'POST',
    path: '/vms/:id/firmware/reset',
    summary:
      'Fresh UEFI variables for a VM that is off, with keys enrolled where Secure Boot is on; boot entries are lost',
    privilege: 'vm.change',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'no_space', 'vm_busy'],
  }),
  vmStart: op({
    method: 'POST',
    path: '/vms/:id/start',
    summary: 'Start; answers when the guest runs',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: START_ERRORS,
  }),
  vmShutdown: op({
    method: 'POST',
    path: '/vms/:id/shutdown',
    summary: 'Ask the guest to shut down; answers at once, state `stopping`',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmRestart: op({
    method: 'POST',
    path: '/vms/:id/restart',
    summary: 'Ask the guest to shut down and start it with its present definition once it is off; answers at once',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmPoweroff: op({
    method: 'POST',
    path: '/vms/:id/poweroff',
    summary: 'Cut the power; answers when it is off',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmReset: op({
    method: 'POST',
    path: '/vms/:id/reset',
    summary: 'Press reset',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmPause: op({
    method: 'POST',
    path: '/vms/:id/pause',
    summary: 'Stop the vCPUs, keep memory',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmResume: op({
    method: 'POST',
    path: '/vms/:id/resume',
    summary: 'Let the vCPUs run again',
    privilege: 'vm.power',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmCommandLine: op({
    method: 'GET',
    path: '/vms/:id/command-line',
    summary: 'The exact QEMU command line with an explanation per option',
    privilege: 'vm.view',
    params: vmId,
    query: z.strictObject({ of: z.enum(['next', 'running']).default('next') }),
    response: CommandLine,
  }),
  vmDevices: op({
    method: 'GET',
    path: '/vms/:id/devices',
    summary: 'The hardware of a running guest as QEMU sees it, linked to the definition',
    privilege: 'vm.view',
    params: vmId,
    response: VmDevices,
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmScreenshot: op({
    method: 'GET',
    path: '/vms/:id/screenshot.png',
    summary: 'The screen as it is now',
    privilege: 'vm.console.view',
    params: vmId,
    query: z.strictObject({ width: z.coerce.number().int().min(16).max(1024).optional() }),
    raw: 'image/png',
    errors: ['wrong_state', 'unresponsive'],
  }),
  vmConsoleTicketCreate: op({
    method: 'POST',
    path: '/vms/:id/console-tickets',
    summary: 'A single-use ticket for the screen or the serial console; mode `control` needs vm.console.control',
    privilege: 'vm.console.view',
    params: vmId,
    body: ConsoleTicketInput,
    response: ConsoleTicket,
    status: 201,
    errors: ['wrong_state', 'forbidden'],
  }),
  vmActivity: op({
    method: 'GET',
    path: '/vms/:id/activity',
    summary: 'What happened to a VM, newest first',
    privilege: 'vm.view',
    params: vmId,
    query: z.strictObject({
      before: z.coerce.number().int().min(1).optional(),
      limit: z.coerce.number().int().min(1).max(200).default(50),
    }),
    response: Items(ActivityEntry),
  }),
} as const satisfies Record<string, Operation>
