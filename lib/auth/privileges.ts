/**
 * Who may do what: what a role gives, what projects and shares give for their objects, narrowed by an API token's
 * scope. Deny by default: what is not listed here nobody may.
 */
import type { Role } from '../schema/user.ts'

/**
 * `public`, `session` and `account` are not granted by role: anybody, anybody signed in, and a person at their own
 * account, which an API token never is.
 * Object privileges apply to the objects a caller reaches: a member and an operator reach their own and what projects
 * and shares give them, an administrator and a viewer reach all.
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
  'vm.console.manage',
  'vm.console.share',
  'vm.console.record',
  'vm.host',
  'image.view',
  'image.add',
  'image.delete',
  'image.common',
  'image.register',
  'pool.view',
  'pool.manage',
  'volume.view',
  'volume.change',
  'share.manage',
  'project.view',
  'project.create',
  'project.manage',
  'network.view',
  'network.manage',
  'usage.view',
  'quota.manage',
  'host.view',
  'user.manage',
  'activity.view.all',
  'vm.lease',
  'device.book',
  'lab.manage',
  'recording.manage',
] as const
export type Privilege = (typeof PRIVILEGES)[number]
export type RoutePrivilege = Privilege | 'public' | 'session' | 'account'

const VIEWER: readonly Privilege[] = [
  'vm.view',
  'vm.console.view',
  'image.view',
  'pool.view',
  'volume.view',
  'project.view',
  'network.view',
  'usage.view',
  'host.view',
]
const MEMBER: readonly Privilege[] = [
  ...VIEWER,
  'vm.create',
  'vm.change',
  'vm.power',
  'vm.delete',
  'vm.backup',
  'backup.restore',
  'vm.snapshot',
  'vm.console.control',
  'vm.console.manage',
  'vm.console.share',
  'vm.console.record',
  'image.add',
  'image.delete',
  'volume.change',
  'vm.lease',
  'device.book',
  'share.manage',
]
/** Beside what a member may: changes what others added to the common library, and begins projects. */
const OPERATOR: readonly Privilege[] = [...MEMBER, 'image.common', 'project.create']

/** What a project or a share can give. The rest reaches beyond single objects, and only a role gives it. */
export const OBJECT_PRIVILEGES = [
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
  'vm.console.manage',
  'vm.console.share',
  'vm.console.record',
  'image.view',
  'image.add',
  'image.delete',
  'volume.view',
  'volume.change',
  'vm.lease',
  'share.manage',
  'project.view',
  'project.manage',
] as const satisfies readonly Privilege[]
const isOfObjects = (privilege: Privilege) => (OBJECT_PRIVILEGES as readonly Privilege[]).includes(privilege)
const PROJECT_VIEWER = VIEWER.filter(isOfObjects)
const PROJECT_OPERATOR = OPERATOR.filter(isOfObjects)

/**
 * What a role means within a project, or for one shared object. A member looks at everything in it and does all with
 * what is theirs; whose that is, `own` says.
 */
export function projectPrivileges(role: Role, own: boolean): readonly Privilege[] {
  switch (role) {
    case 'viewer':
      return PROJECT_VIEWER
    case 'member':
      return own ? PROJECT_OPERATOR : PROJECT_VIEWER
    case 'operator':
      return PROJECT_OPERATOR
    case 'admin':
      return OBJECT_PRIVILEGES
  }
}
export const ROLE_PRIVILEGES: Readonly<Record<Role, readonly Privilege[]>> = {
  viewer: VIEWER,
  member: MEMBER,
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

export type ObjectKind = 'vm' | 'image' | 'volume'
/** An object as far as access goes. Without an id only its owner is known. */
export interface Reachable {
  readonly kind?: ObjectKind
  readonly id?: string | undefined
  readonly ownerId: string
}

/**
 * What projects, shares and custom roles make of one person, looked up anew each time: what is taken back counts at
 * once, for open connections too. Absent where only the built-in role decides.
 */
export interface Grants {
  /** Of the custom role; null: the built-in role decides. */
  siteVerbs(): readonly Privilege[] | null
  /** Whether any project or share gives it. */
  anywhere(privilege: Privilege): boolean
  /** All that this person may do with an object. The same set for the same answer. */
  on(object: Reachable): ReadonlySet<Privilege>
}

/** What decides about a caller. */
export interface Authority {
  readonly role: Role
  readonly via: 'session' | 'token'
  /** Null or absent: all that the role may. */
  readonly scope?: TokenScope | null
  /** Signed in only as far as to set up the second factor that is demanded. */
  readonly enrolling?: boolean
  readonly grants?: Grants
}

/** Names no VM that exists yet, so a token for some VMs cannot have it. */
const BEYOND_SOME_VMS: readonly Privilege[] = ['vm.create']

function inScope(caller: Authority, privilege: Privilege): boolean {
  const scope = caller.scope ?? null
  if (scope === null) return true
  if (!scope.privileges.includes(privilege)) return false
  return scope.vmIds === null || !BEYOND_SOME_VMS.includes(privilege)
}

const siteVerbs = (caller: Pick<Authority, 'role' | 'grants'>) =>
  caller.grants?.siteVerbs() ?? ROLE_PRIVILEGES[caller.role]

/** Whether the role itself gives it, for what belongs to no project. */
export function mayOnSite(caller: Authority, privilege: Privilege): boolean {
  return caller.enrolling !== true && inScope(caller, privilege) && siteVerbs(caller).includes(privilege)
}

/** Whether a caller has a privilege at all. For which object is `mayOn`'s matter. */
export function may(caller: Authority, privilege: RoutePrivilege): boolean {
  if (privilege === 'public') return true
  if (privilege === 'account') return caller.via === 'session'
  if (caller.enrolling === true) return false
  if (privilege === 'session') return true
  if (!inScope(caller, privilege)) return false
  return siteVerbs(caller).includes(privilege) || (caller.grants?.anywhere(privilege) ?? false)
}

const NOTHING: ReadonlySet<Privilege> = new Set()
const SETS = new Map<readonly Privilege[], ReadonlySet<Privilege>>()
const setOf = (privileges: readonly Privilege[]): ReadonlySet<Privilege> => {
  let set = SETS.get(privileges)
  if (set === undefined) {
    set = new Set(privileges)
    SETS.set(privileges, set)
  }
  return set
}

/** All that a caller may do with an object; empty: it does not exist for them. */
export function privilegesOn(
  caller: Pick<Authority, 'role' | 'scope' | 'grants'> & { readonly userId: string },
  object: Reachable,
): ReadonlySet<Privilege> {
  const kind = object.kind ?? 'vm'
  if (kind === 'vm' && !coversVm(caller, object.id)) return NOTHING
  // A free disk is no VM's, so a token for some VMs does not reach it.
  if (kind === 'volume' && !coversVm(caller, undefined)) return NOTHING
  const all =
    caller.grants?.on(object) ??
    (kind === 'image' || seesAllVms(caller.role) || object.ownerId === caller.userId
      ? setOf(ROLE_PRIVILEGES[caller.role])
      : NOTHING)
  const scope = caller.scope ?? null
  return scope === null || all.size === 0 ? all : new Set([...all].filter((verb) => scope.privileges.includes(verb)))
}

/** The one check of a privilege on an object. */
export function mayOn(
  caller: Authority & { readonly userId: string },
  object: Reachable,
  privilege: Privilege,
): boolean {
  return caller.enrolling !== true && privilegesOn(caller, object).has(privilege)
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
  return role === 'admin' || role === 'viewer'
}
