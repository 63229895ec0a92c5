/** Which role may do what. Deny by default: what is not listed here nobody may. */
import type { Role } from '../schema/user.ts'

/**
 * `public` and `session` are not granted by role: anybody, and anybody signed in.
 * Object privileges (`vm.*`) apply to the VMs a caller may see: an operator sees their own,
 * an administrator and a viewer see all.
 */
export const PRIVILEGES = [
  'vm.view',
  'vm.create',
  'vm.change',
  'vm.power',
  'vm.delete',
  'vm.console.view',
  'vm.console.control',
  'image.view',
  'image.add',
  'image.delete',
  'image.register',
  'host.view',
  'user.manage',
  'activity.view.all',
] as const
export type Privilege = (typeof PRIVILEGES)[number]
export type RoutePrivilege = Privilege | 'public' | 'session'

const VIEWER: readonly Privilege[] = ['vm.view', 'vm.console.view', 'image.view', 'host.view']
const OPERATOR: readonly Privilege[] = [
  ...VIEWER,
  'vm.create',
  'vm.change',
  'vm.power',
  'vm.delete',
  'vm.console.control',
  'image.add',
  'image.delete',
]

export const ROLE_PRIVILEGES: Readonly<Record<Role, readonly Privilege[]>> = {
  viewer: VIEWER,
  operator: OPERATOR,
  admin: PRIVILEGES,
}

export function hasPrivilege(role: Role, privilege: Privilege): boolean {
  return ROLE_PRIVILEGES[role].includes(privilege)
}

/** Whether a role sees every VM or only its own. */
export function seesAllVms(role: Role): boolean {
  return role !== 'operator'
}
