/**
 * People whose accounts are kept elsewhere: which role their groups give them, and who they are here. The same for an
 * OpenID provider, a directory and the host.
 */
import type { GroupRole } from '#lib/schema/sign-in.ts'
import { type ExternalLogin, type Role, UserName } from '#lib/schema/user.ts'
import type { UserDocument } from '#server/auth/documents.ts'
import type { UserChange, Users } from '#server/auth/users.ts'
import { EngineError } from '#server/engine/errors.ts'

/** What the other side vouches for. */
export interface ExternalAccount extends ExternalLogin {
  readonly name: string
  readonly groups: readonly string[]
}

export interface RoleMapping {
  readonly roles: readonly GroupRole[]
  readonly otherRole: Role | null
  readonly createPeople: boolean
}

const RANK: Readonly<Record<Role, number>> = { viewer: 0, member: 1, operator: 2, admin: 3 }

/** The most that any of the groups gives. Null: refused. */
export function roleOf(groups: readonly string[], mapping: RoleMapping): Role | null {
  const given = mapping.roles.filter(({ group }) => groups.includes(group)).map(({ role }) => role)
  return given.reduce<Role | null>(
    (best, role) => (best === null || RANK[role] > RANK[best] ? role : best),
    given.length === 0 ? mapping.otherRole : null,
  )
}

export interface Admission {
  readonly user: UserDocument
  /** What this sign-in changed, for the record. */
  readonly notes: readonly string[]
}

export interface AdmitDeps {
  readonly users: Users
  /** Ends the credentials that a change of role makes void. */
  update(id: string, change: UserChange): Promise<UserDocument>
}

const refuse = (sentence: string) => new EngineError('sign_in_failed', sentence)

/**
 * Finds or adds the person and gives them the role of their groups.
 * The last administrator keeps the role and gets in, whatever the groups say: else a slip in the mapping would leave
 * nobody who can mend it.
 * @throws EngineError sign_in_failed
 */
export async function admit(deps: AdmitDeps, account: ExternalAccount, mapping: RoleMapping): Promise<Admission> {
  const { users } = deps
  const login: ExternalLogin = { realm: account.realm, subject: account.subject }
  const role = roleOf(account.groups, mapping)
  const known = users.byLogin(login)
  if (known === null)
    return { user: await add(users, login, account, mapping, role), notes: [`Added ${account.name}.`] }
  if (known.disabled) throw refuse('This account has no access. An administrator can give it back.')
  // For groups here that follow those there.
  await deps.update(known.id, { groups: groupNames(account) })
  // Without any rule about groups the role is what an administrator made it.
  if (mapping.roles.length === 0 && mapping.otherRole === null) return { user: known, notes: [] }
  if (role === known.role) return { user: known, notes: [] }
  if (users.isLastAdmin(known)) {
    return { user: known, notes: [`${known.name} stays administrator although no group says so: there is no other.`] }
  }
  if (role === null) throw refuse('You are in none of the groups that may sign in here. Ask an administrator.')
  const user = await deps.update(known.id, { role })
  return { user, notes: [`The groups of ${user.name} make them ${role}; it was ${known.role}.`] }
}

const groupNames = ({ realm, groups }: ExternalAccount) =>
  groups.slice(0, 200).map((name) => `${realm}:${name.slice(0, 256)}`)

async function add(
  users: Users,
  login: ExternalLogin,
  account: ExternalAccount,
  mapping: RoleMapping,
  role: Role | null,
): Promise<UserDocument> {
  const hint = `An administrator can link it: ${login.realm} account ${login.subject}`
  if (!mapping.createPeople) throw refuse(`Nobody here belongs to this account. ${hint}`)
  if (role === null) throw refuse('You are in none of the groups that may sign in here. Ask an administrator.')
  if (!UserName.safeParse(account.name).success) {
    throw refuse(`"${account.name.slice(0, 64)}" cannot be a name here (a-z first, then a-z, 0-9, . _ -). ${hint}`)
  }
  try {
    return await users.create({ name: account.name, role, login, groups: groupNames(account) })
  } catch (error) {
    // Taking over somebody's account by having their name elsewhere must not be possible.
    if (error instanceof EngineError && error.code === 'name_taken') {
      throw refuse(`There is already somebody else called ${account.name}. ${hint}`)
    }
    throw error
  }
}
