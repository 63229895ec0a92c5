/**
 * Every operation of the API, declared once. Fastify registers its routes from this table, the browser's
 * client is typed by it, `openapi.json` is generated from it, and the privilege matrix is tested against it.
 * Paths are relative to `API_BASE` and use `:name` parameters.
 */
import * as z from 'zod'
import type { RoutePrivilege } from '../auth/privileges.ts'
import { CommandLine } from '../schema/command-line.ts'
import type { ErrorCode } from '../schema/error.ts'
import { ActivityEntry } from '../schema/event.ts'
import { CapabilitiesView, DeviceType, DeviceTypeName, Host } from '../schema/host.ts'
import { HostDevices } from '../schema/host-devices.ts'
import { ImageId, JobId, TokenId, UserId, VmId } from '../schema/ids.ts'
import { Image, Starter } from '../schema/image.ts'
import { Job } from '../schema/job.ts'
import { ApiToken, Password, Role, Session, User, UserName } from '../schema/user.ts'
import { VmChangePreview, VmDevices } from '../schema/vm-devices.ts'
import { VmSpecInput, VmSpecPatch } from '../schema/vm-spec.ts'
import { Vm } from '../schema/vm-state.ts'

export const API_BASE = '/api/v1'

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly summary: string
  readonly privilege: RoutePrivilege
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  /** JSON body. Absent: the operation takes none (an empty object is tolerated). */
  readonly body?: z.ZodType
  /** JSON answer. Absent together with `raw`: answers 204. */
  readonly response?: z.ZodType
  readonly status?: 200 | 201 | 202 | 204
  /** Media type of an answer that is not JSON. */
  readonly raw?: string
  /** The body is a byte stream of this media type. */
  readonly stream?: 'application/octet-stream'
  /** Needs `If-Match: "<revision>"` when the caller sends it; refused with `stale_revision` when it differs. */
  readonly revisioned?: true
  /** Domain errors beyond those every operation can answer (input, sign-in, privilege, not found, rate, internal). */
  readonly errors?: readonly ErrorCode[]
}

const op = <const O extends Operation>(o: O): O => o
const vmId = z.strictObject({ id: VmId })
const imageId = z.strictObject({ id: ImageId })
const Items = <T extends z.ZodType>(item: T) => z.strictObject({ items: z.array(item) })

const START_ERRORS = [
  'wrong_state',
  'launch_failed',
  'accelerator_unusable',
  'image_missing',
  'image_in_use',
  'port_in_use',
  'no_space',
  'busy',
] as const

export const ConsoleTicketInput = z
  .strictObject({ kind: z.enum(['vnc', 'serial']), mode: z.enum(['control', 'view']) })
  .meta({ id: 'ConsoleTicketInput' })
export const ConsoleTicket = z
  .strictObject({
    /** Send as a WebSocket subprotocol beside `binary`; works once, within 30 seconds. */
    ticket: z.string(),
    /** Path of the WebSocket, to be joined to the page's own origin. */
    path: z.string(),
    mode: z.enum(['control', 'view']),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'ConsoleTicket' })

export const operations = {
  sessionView: op({
    method: 'GET',
    path: '/session',
    summary: 'Who is signed in',
    privilege: 'public',
    response: Session,
  }),
  setupCreate: op({
    method: 'POST',
    path: '/setup',
    summary: 'Create the first administrator with the one-time code and sign in',
    privilege: 'public',
    body: z.strictObject({ code: z.string().max(64), name: UserName, password: Password }),
    response: Session,
    status: 201,
    errors: ['bad_setup_code', 'already_set_up'],
  }),
  sessionCreate: op({
    method: 'POST',
    path: '/session',
    summary: 'Sign in; answers with a session cookie',
    privilege: 'public',
    body: z.strictObject({ name: z.string().max(64), password: z.string().max(256) }),
    response: Session,
    status: 201,
    errors: ['bad_credentials'],
  }),
  sessionDelete: op({ method: 'DELETE', path: '/session', summary: 'Sign out', privilege: 'session', status: 204 }),
  passwordChange: op({
    method: 'POST',
    path: '/session/password',
    summary: 'Change the own password; ends every other session',
    privilege: 'session',
    body: z.strictObject({ current: z.string().max(256), next: Password }),
    status: 204,
    errors: ['bad_credentials'],
  }),

  tokenList: op({
    method: 'GET',
    path: '/tokens',
    summary: 'Own API tokens',
    privilege: 'session',
    response: Items(ApiToken),
  }),
  tokenCreate: op({
    method: 'POST',
    path: '/tokens',
    summary: 'Create an API token; the secret is shown once. A token cannot create tokens.',
    privilege: 'session',
    body: z.strictObject({ label: z.string().min(1).max(64), expiresInDays: z.int().min(1).max(3650).optional() }),
    response: z.strictObject({ token: z.string(), entry: ApiToken }),
    status: 201,
  }),
  tokenDelete: op({
    method: 'DELETE',
    path: '/tokens/:id',
    summary: 'Revoke an own API token',
    privilege: 'session',
    params: z.strictObject({ id: TokenId }),
    status: 204,
  }),

  userList: op({ method: 'GET', path: '/users', summary: 'People', privilege: 'user.manage', response: Items(User) }),
  userCreate: op({
    method: 'POST',
    path: '/users',
    summary: 'Add a person',
    privilege: 'user.manage',
    body: z.strictObject({ name: UserName, password: Password, role: Role }),
    response: User,
    status: 201,
    errors: ['name_taken'],
  }),
  userUpdate: op({
    method: 'PATCH',
    path: '/users/:id',
    summary: 'Change role, password or access of a person; ends their sessions',
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    body: z.strictObject({ role: Role.optional(), password: Password.optional(), disabled: z.boolean().optional() }),
    response: User,
    errors: ['last_admin'],
  }),
  userDelete: op({
    method: 'DELETE',
    path: '/users/:id',
    summary: 'Remove a person who owns no VM',
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    status: 204,
    errors: ['last_admin', 'in_use'],
  }),

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
    body: VmSpecInput,
    response: Vm,
    status: 201,
    errors: ['name_taken', 'image_missing', 'no_space', 'port_in_use'],
  }),
  vmPreview: op({
    method: 'POST',
    path: '/vms/preview',
    summary: 'What a VM created from this input would be and run, without creating it',
    privilege: 'vm.create',
    body: VmSpecInput,
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
      'stale_revision',
      'name_taken',
      'image_missing',
      'image_in_use',
      'port_in_use',
      'no_space',
      'conflict',
      'busy',
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
    summary: 'Delete a VM that is off, with its own disks; library images stay',
    privilege: 'vm.delete',
    params: vmId,
    status: 204,
    revisioned: true,
    errors: ['wrong_state', 'stale_revision'],
  }),
  vmFirmwareReset: op({
    method: 'POST',
    path: '/vms/:id/firmware/reset',
    summary:
      'Fresh UEFI variables for a VM that is off, with keys enrolled where Secure Boot is on; boot entries are lost',
    privilege: 'vm.change',
    params: vmId,
    response: Vm,
    errors: ['wrong_state', 'no_space'],
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

  imageList: op({
    method: 'GET',
    path: '/images',
    summary: 'The image library',
    privilege: 'image.view',
    response: Items(Image),
  }),
  imageUpload: op({
    method: 'POST',
    path: '/images/upload',
    summary: 'Upload an ISO, raw or qcow2 file as the request body',
    privilege: 'image.add',
    query: z.strictObject({
      name: z.string().min(1).max(255),
      /** Expected SHA-256; a different one is refused with `checksum_mismatch`. */
      sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
    }),
    stream: 'application/octet-stream',
    response: Image,
    status: 201,
    errors: ['image_refused', 'checksum_mismatch', 'too_large', 'no_space', 'busy'],
  }),
  imageRegister: op({
    method: 'POST',
    path: '/images/register',
    summary: 'Use a file where it is, from a directory the administrator allowed; reading its checksum is a job',
    privilege: 'image.register',
    body: z.strictObject({ path: z.string().min(1).max(4096), name: z.string().min(1).max(255).optional() }),
    response: Job,
    status: 202,
    errors: ['image_refused', 'image_missing', 'conflict'],
  }),
  imageSources: op({
    method: 'GET',
    path: '/images/sources',
    summary: 'Files in the allowed directories that could be registered',
    privilege: 'image.register',
    response: z.strictObject({
      directories: z.array(z.strictObject({ path: z.string(), state: z.enum(['ok', 'missing', 'denied']) })),
      files: z.array(z.strictObject({ path: z.string(), sizeBytes: z.number() })),
    }),
  }),
  starterList: op({
    method: 'GET',
    path: '/images/starters',
    summary: 'Bootable things the distribution ships',
    privilege: 'image.view',
    response: Items(Starter),
  }),
  starterAdd: op({
    method: 'POST',
    path: '/images/starters/:id',
    summary: 'Add a starter to the library',
    privilege: 'image.add',
    params: z.strictObject({ id: Starter.shape.id }),
    response: Image,
    status: 201,
    errors: ['image_missing', 'image_refused'],
  }),
  imageView: op({
    method: 'GET',
    path: '/images/:id',
    summary: 'One image',
    privilege: 'image.view',
    params: imageId,
    response: Image,
  }),
  imageDelete: op({
    method: 'DELETE',
    path: '/images/:id',
    summary: 'Remove an image no VM uses; a registered file itself stays',
    privilege: 'image.delete',
    params: imageId,
    status: 204,
    errors: ['in_use'],
  }),

  hostView: op({
    method: 'GET',
    path: '/host',
    summary: 'Capacity, accelerator verdict with evidence, readiness',
    privilege: 'host.view',
    query: z.strictObject({ refresh: z.enum(['true', 'false']).optional() }),
    response: Host,
  }),
  capabilitiesView: op({
    method: 'GET',
    path: '/capabilities',
    summary: 'What the installed QEMU offers',
    privilege: 'host.view',
    response: CapabilitiesView,
  }),
  deviceTypeView: op({
    method: 'GET',
    path: '/capabilities/devices/:type',
    summary: 'Every property of one device, object or machine type of the installed QEMU',
    privilege: 'host.view',
    params: z.strictObject({ type: DeviceTypeName }),
    response: DeviceType,
    errors: ['launch_failed'],
  }),
  hostDeviceList: op({
    method: 'GET',
    path: '/host/devices',
    summary: "The host's own hardware: PCI and USB devices, IOMMU groups, huge pages, NUMA, CPUs, interfaces",
    privilege: 'host.view',
    response: HostDevices,
  }),

  jobList: op({
    method: 'GET',
    path: '/jobs',
    summary: 'Own long work, newest first',
    privilege: 'session',
    response: Items(Job),
  }),
  jobView: op({
    method: 'GET',
    path: '/jobs/:id',
    summary: 'One job',
    privilege: 'session',
    params: z.strictObject({ id: JobId }),
    response: Job,
  }),
  jobCancel: op({
    method: 'POST',
    path: '/jobs/:id/cancel',
    summary: 'Cancel a job',
    privilege: 'session',
    params: z.strictObject({ id: JobId }),
    response: Job,
    errors: ['wrong_state'],
  }),

  activityList: op({
    method: 'GET',
    path: '/activity',
    summary: 'What happened, newest first: everything for administrators, the own doings and VMs for others',
    privilege: 'session',
    query: z.strictObject({
      before: z.coerce.number().int().min(1).optional(),
      limit: z.coerce.number().int().min(1).max(200).default(50),
    }),
    response: Items(ActivityEntry),
  }),
} as const satisfies Record<string, Operation>

export type Operations = typeof operations
export type OperationId = keyof Operations

/** WebSocket endpoints; outside the table because their bodies are streams. */
export const EVENTS_PATH = `${API_BASE}/events`
export const consolePath = (id: string, kind: 'vnc' | 'serial') => `${API_BASE}/vms/${id}/console/${kind}`
