/**
 * Who may call what, worked out for seven callers from the two declarations there are: the privilege of each operation
 * (`lib/api/contract.ts`) and what each role gives (`privileges.ts`). `docs/permissions.md` is made of it, and a test
 * calls every operation of a running dashboard as each of the seven.
 */
import { objectOf } from '../api/object-of.ts'
import type { Role } from '../schema/user.ts'
import { OBJECT_PRIVILEGES, type Privilege, ROLE_PRIVILEGES, type RoutePrivilege } from './privileges.ts'

export interface Column {
  readonly name: string
  /** Null: nobody is signed in. */
  readonly role: Role | null
  /** Of the object that is called for. */
  readonly owns: boolean
  /** Of an API token that was limited to these privileges and to the one VM. */
  readonly scope: readonly Privilege[] | null
}

const person = (name: string, role: Role | null, owns = false): Column => ({ name, role, owns, scope: null })
export const COLUMNS = {
  anonymous: person('anonymous', null),
  viewer: person('viewer', 'viewer'),
  owner: person('member, owner', 'member', true),
  other: person('member, other', 'member'),
  operator: person('operator', 'operator'),
  administrator: person('administrator', 'admin'),
  token: { name: 'scoped token', role: 'member', owns: true, scope: ['vm.view', 'vm.power'] },
} as const satisfies Record<string, Column>
export type ColumnId = keyof typeof COLUMNS
export const COLUMN_IDS = Object.keys(COLUMNS) as readonly ColumnId[]

/** `allowed`: through every check; what the operation itself then says is another matter. */
export type Verdict = 'allowed' | 'unauthenticated' | 'forbidden' | 'absent'

/** Whose an object is, and for whom it exists, where that is not told by who reaches its VM, image or disk. */
type Sphere =
  | 'reached'
  /** In the library for all: others look at it, and change it with `image.common`. */
  | 'library'
  /** Its owner's and administrators'. */
  | 'managed'
  /** Its owner's alone. */
  | 'own'
  /** Seen by all, changed by its owner and administrators. */
  | 'public'
  | 'none'

/** By the beginning of the path; the first that fits. */
const SPHERES: readonly (readonly [RegExp, Sphere])[] = [
  [/^\/images\/uploads\/:id$/, 'managed'],
  [/^\/images\/uploads\/:id\/finish$/, 'own'],
  [/^\/images\/:id/, 'library'],
  [/^\/jobs\/:id/, 'managed'],
  [/^\/power-schedules\/:id/, 'reached'],
  [/^\/appliances\/:id/, 'library'],
  [/^\/bookings\/:id/, 'public'],
  [/^\/tokens\/:id/, 'own'],
  [/^\/account\/(sessions|passkeys)\/:id/, 'own'],
]

export interface Rule {
  readonly method: string
  readonly path: string
  readonly privilege: RoutePrivilege
}
/** What an operation needs beyond its privilege when it concerns what is another's, or asks for more. */
export const STRICTER: Readonly<Record<string, { readonly when: string; readonly privilege: Privilege }>> = {
  vmViewerEnd: { when: 'the connection is another’s', privilege: 'vm.console.manage' },
}

const sphereOf = (rule: Rule): Sphere => {
  // It names the VM in its body.
  if (rule.method === 'POST' && rule.path === '/power-schedules') return 'reached'
  // Bytes come from whoever began to send them.
  if (rule.method === 'PATCH' && rule.path === '/images/uploads/:id') return 'own'
  return SPHERES.find(([path]) => path.test(rule.path))?.[1] ?? (objectOf(rule) === null ? 'none' : 'reached')
}

const CHANGES_LIBRARY: Privilege = 'image.common'

/** Whether the role gives it, or the project that the owner manages. */
function gives({ role, owns, scope }: Column, privilege: Privilege): boolean {
  if (role === null) return false
  if (scope !== null) return scope.includes(privilege)
  const ofProject: readonly Privilege[] = owns ? OBJECT_PRIVILEGES : []
  return ROLE_PRIVILEGES[role].includes(privilege) || ofProject.includes(privilege)
}

export function verdict(column: Column, rule: Rule): Verdict {
  const { privilege } = rule
  if (privilege === 'public') return 'allowed'
  if (column.role === null) return 'unauthenticated'
  const isAdmin = column.role === 'admin'
  const reads = rule.method === 'GET'
  if (privilege === 'account') {
    if (column.scope !== null) return 'forbidden'
  } else if (privilege === 'session') {
    if (column.scope !== null && !reads) return 'forbidden'
  } else if (!gives(column, privilege)) return 'forbidden'
  switch (sphereOf(rule)) {
    case 'none':
      return 'allowed'
    case 'reached':
      return column.owns || isAdmin || column.role === 'viewer' ? 'allowed' : 'absent'
    case 'library':
      return column.owns || privilege === 'image.view' || gives(column, CHANGES_LIBRARY) ? 'allowed' : 'forbidden'
    case 'managed':
      return column.owns || isAdmin ? 'allowed' : 'absent'
    case 'own':
      return column.owns ? 'allowed' : 'absent'
    case 'public':
      return column.owns || isAdmin ? 'allowed' : 'forbidden'
  }
}

/** WebSockets: a ticket is asked for first, so who gets none does not get as far as the socket. */
export const SOCKETS = [
  { id: 'events', name: 'Events of what one may see', privilege: 'session', path: '/events' },
  { id: 'vnc-view', name: 'Screen, looking', privilege: 'vm.console.view', path: '/vms/:id/console/vnc' },
  { id: 'vnc-control', name: 'Screen, typing', privilege: 'vm.console.control', path: '/vms/:id/console/vnc' },
  { id: 'serial-view', name: 'Serial console, looking', privilege: 'vm.console.view', path: '/vms/:id/console/serial' },
  {
    id: 'serial-control',
    name: 'Serial console, typing',
    privilege: 'vm.console.control',
    path: '/vms/:id/console/serial',
  },
] as const satisfies readonly (Omit<Rule, 'method'> & { readonly id: string; readonly name: string })[]
