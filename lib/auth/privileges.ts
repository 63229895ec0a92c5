/** Who may do what: the role, narrowed by an API token's scope. Deny by default: what is not listed here nobody may. */
import type { Role } from '../schema/user.ts'

/**
 * `public`, `session` and `account` are not granted by role: anybody, anybody signed in, and a person at their own
 * account, which an API token never is.
 * Object privileges (`vm.*`) apply to the VMs a caller may see: an operator sees their own,
 * an administrator and a viewer see all.
 */
export const PRIVILEGES = [
  'vm.view',
  'vm.create',
  'vm.change',
  'vm.power',
  'vm.delete',
  'vm.backup',
  'backup.restore',
  'vm.snapshot',
  'vm.console.view',
  'vm.console.control',
  'vm.host',
  'image.view',
  'image.add',
  'image.delete',
  'image.register',
  'pool.view',
  'pool.manage',
  'volume.view',
  'volume.change',
  'host.view',
  'user.manage',
  'activity.view.all',
  'vm.lease',
  'device.book',
  'lab.manage',
] as const
export type Privilege = (typeof PRIVILEGES)[number]
export type RoutePrivilege = Privilege | 'public' | 'session' | 'account'

const VIEWER: readonly Privilege[] = [
  'vm.view',
  'vm.console.view',
  'image.view',
  'pool.view',
  'volume.view',
  'host.view',
]
const OPERATOR: readonly Privilege[] = [
  ...VIEWER,
  'vm.create',
  'vm.change',
  'vm.power',
  'vm.delete',
  'vm.backup',
  'backup.restore',
  'vm.snapshot',
  'vm.console.control',
  'image.add',
  'image.delete',
  'volume.change',
  'vm.lease',
  'device.book',
]

export const ROLE_PRIVILEGES: Readonly<Record<Role, readonly Privilege[]>> = {
  viewer: VIEWER,
  operator: OPERATOR,
  admin: PRIVILEGES,
}

export function hasPrivilege(role: Role, privilege: Privilege): boolean {
  return ROLE_PRIVILEGES[role].includes(privilege)
}

/** What an API token was limited to when it was made. */
export interface TokenScope {
  readonly privileges: readonly Privilege[]
  /** Null: every VM its owner may see. */
  readonly vmIds: readonly string[] | null
}

/** What decides about a caller. */
export interface Authority {
  readonly role: Role
  readonly via: 'session' | 'token'
  /** Null or absent: all that the role may. */
  readonly scope?: TokenScope | null
  /** Signed in only as far as to set up the second factor that is demanded. */
  readonly enrolling?: boolean
}

/** Names no VM that exists yet, so a token for some VMs cannot have it. */
const BEYOND_SOME_VMS: readonly Privilege[] = ['vm.create']

/** The one check of a privilege. Which VM it is about is `coversVm`'s and the owner's matter. */
export function may(caller: Authority, privilege: RoutePrivilege): boolean {
  if (privilege === 'public') return true
  if (privilege === 'account') return caller.via === 'session'
  if (caller.enrolling === true) return false
  if (privilege === 'session') return true
  const scope = caller.scope ?? null
  if (scope !== null) {
    if (!scope.privileges.includes(privilege)) return false
    if (scope.vmIds !== null && BEYOND_SOME_VMS.includes(privilege)) return false
  }
  return hasPrivilege(caller.role, privilege)
}

/** Whether an operation may be called. A narrowed token changes nothing that asks for no privilege of its own. */
export function mayCall(
  caller: Authority,
  operation: { readonly method: string; readonly privilege: RoutePrivilege },
): boolean {
  if (!may(caller, operation.privilege)) return false
  const narrowed = (caller.scope ?? null) !== null
  return !(narrowed && operation.privilege === 'session' && operation.method !== 'GET')
}

/** Whether a token's scope reaches this VM; without an id it does not. */
export function coversVm(caller: Pick<Authority, 'scope'>, vmId: string | undefined): boolean {
  const vmIds = caller.scope?.vmIds ?? null
  return vmIds === null || (vmId !== undefined && vmIds.includes(vmId))
}

/** Whether a role sees every VM or only its own. */
export function seesAllVms(role: Role): boolean {
  return role !== 'operator'
}
