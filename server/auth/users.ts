/** People: shared by the API and the command line, which may work on the same store at the same time. */
import { randomUUIDv7 } from 'node:crypto'
import type { ExternalLogin, Role } from '#lib/schema/user.ts'
import { isCommonPassword } from '#server/auth/common-passwords.ts'
import type { FactorDocument, SessionDocument, TokenDocument, UserDocument } from '#server/auth/documents.ts'
import type { Passwords } from '#server/auth/passwords.ts'
import { isRealmEnabled } from '#server/auth/settings.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store, VmDocument } from '#server/store/types.ts'

export interface UserChange {
  readonly role?: Role | undefined
  /** Null: the built-in role counts again. */
  readonly customRole?: string | null | undefined
  /** Groups elsewhere; a change of them ends nothing. */
  readonly groups?: readonly string[] | undefined
  readonly password?: string | undefined
  readonly disabled?: boolean | undefined
}

export interface Users {
  list(): UserDocument[]
  get(id: string): UserDocument | null
  byName(name: string): UserDocument | null
  /** Whether somebody can administrate: until then the setup code is valid. */
  hasAdmin(): boolean
  /** @throws EngineError name_taken, bad_input (common password), conflict (login of somebody else), busy */
  create(input: {
    name: string
    password?: string | undefined
    role: Role
    customRole?: string | null | undefined
    login?: ExternalLogin | undefined
    groups?: readonly string[] | undefined
  }): Promise<UserDocument>
  byLogin(login: ExternalLogin): UserDocument | null
  /** @throws EngineError not_found, conflict, last_admin */
  setLogins(id: string, logins: readonly ExternalLogin[]): UserDocument
  /** Whether nobody else who can sign in is administrator. */
  isLastAdmin(user: UserDocument): boolean
  /** @throws EngineError last_admin when no administrator can sign in any more */
  assertSomeAdmin(): void
  /** Like `create` for an administrator, but only while there is none. @throws EngineError already_set_up */
  createFirstAdmin(input: { name: string; password: string }): Promise<UserDocument>
  /**
   * A change of role, password or access ends every session and API token of the person, but `keepSession`.
   * @throws EngineError not_found, last_admin, busy
   */
  update(id: string, change: UserChange, keepSession?: string): Promise<UserDocument>
  /** @throws EngineError not_found, last_admin, in_use (owns VMs) */
  delete(id: string): UserDocument
  /** At most one write per person and five minutes. */
  seen(user: UserDocument): void
}

const SEEN_EVERY_MS = 5 * 60_000

/** @throws EngineError bad_input at `field` */
export function assertGoodPassword(password: string, name: string, field = 'password'): void {
  if (!isCommonPassword(password, name)) return
  throw new EngineError(
    'bad_input',
    'This is among the first passwords anybody would try. A few words that do not belong together are better.',
    { field },
  )
}

export function createUsers(store: Store, passwords: Passwords): Users {
  const list = () => store.list<UserDocument>('user').map((stored) => stored.value)
  const get = (id: string) => store.get<UserDocument>('user', id)?.value ?? null
  const byName = (name: string) => list().find((user) => user.name === name) ?? null
  const isActiveAdmin = (user: UserDocument) =>
    user.role === 'admin' && (user.customRole ?? null) === null && !user.disabled
  const hasAdmin = () => list().some(isActiveAdmin)

  const known = (id: string): UserDocument => {
    const user = get(id)
    if (!user) throw new EngineError('not_found', 'There is no such person.')
    return user
  }

  /** With a password, a passkey, or an account elsewhere that is asked. */
  const canSignIn = (user: UserDocument) =>
    user.passwordHash !== null ||
    (user.logins ?? []).some(({ realm }) => isRealmEnabled(store, realm)) ||
    (store.get<FactorDocument>('factor', user.id)?.value.passkeys.length ?? 0) > 0
  const isUsableAdmin = (user: UserDocument) => isActiveAdmin(user) && canSignIn(user)
  const isLastAdmin = (user: UserDocument) =>
    isActiveAdmin(user) && !list().some((other) => other.id !== user.id && isUsableAdmin(other))

  const assertAnotherAdmin = (leaving: UserDocument): void => {
    if (!isLastAdmin(leaving)) return
    throw new EngineError(
      'last_admin',
      `${leaving.name} is the last administrator; make somebody else administrator first.`,
    )
  }

  /** @throws EngineError bad_input */
  const assertRole = (customRole: string | null): void => {
    if (customRole !== null && store.get('role', customRole) === null)
      throw new EngineError('bad_input', 'There is no such role.', { field: 'customRole' })
  }

  const byLogin = ({ realm, subject }: ExternalLogin) =>
    list().find((user) => user.logins?.some((login) => login.realm === realm && login.subject === subject)) ?? null

  const assertFree = (login: ExternalLogin, but: string | null): void => {
    const other = byLogin(login)
    if (other !== null && other.id !== but) {
      throw new EngineError('conflict', `That account already signs in as ${other.name}.`, { field: 'login' })
    }
  }

  const insert = (
    name: string,
    role: Role,
    passwordHash: string | null,
    logins: readonly ExternalLogin[] = [],
    customRole: string | null = null,
    groups: readonly string[] = [],
  ): UserDocument => {
    if (byName(name)) {
      throw new EngineError('name_taken', `There is already somebody called ${name}.`, { field: 'name' })
    }
    const user: UserDocument = {
      v: 1,
      id: randomUUIDv7(),
      name,
      role,
      disabled: false,
      passwordHash,
      createdAt: new Date().toISOString(),
      lastSeenAt: null,
      logins,
      customRole,
      groups,
    }
    store.put('user', user.id, user)
    return user
  }

  const endCredentials = (userId: string, keepSession?: string): void => {
    for (const { key, value } of store.list<SessionDocument>('session')) {
      if (value.userId === userId && key !== keepSession) store.delete('session', key)
    }
    for (const { key, value } of store.list<TokenDocument>('token')) {
      if (value.userId === userId) store.delete('token', key)
    }
  }

  return {
    list,
    get,
    byName,
    hasAdmin,
    byLogin,
    isLastAdmin,
    assertSomeAdmin() {
      if (list().some(isUsableAdmin)) return
      throw new EngineError(
        'last_admin',
        'No administrator could sign in any more. Give one of them a password or another way first.',
      )
    },
    setLogins(id, logins) {
      return store.transaction(() => {
        const before = known(id)
        for (const login of logins) assertFree(login, id)
        const after = { ...before, logins: logins.map(({ realm, subject }) => ({ realm, subject })) }
        store.put('user', id, after)
        if (isActiveAdmin(after) && !canSignIn(after)) assertAnotherAdmin(after)
        return after
      })
    },
    async create({ name, password, role, customRole = null, login, groups = [] }) {
      if (password !== undefined) assertGoodPassword(password, name)
      if (byName(name)) {
        throw new EngineError('name_taken', `There is already somebody called ${name}.`, { field: 'name' })
      }
      const hash = password === undefined ? null : await passwords.hash(password)
      // Checked again inside: another request or the command line may have been faster.
      return store.transaction(() => {
        if (login) assertFree(login, null)
        assertRole(customRole)
        return insert(name, role, hash, login ? [login] : [], customRole, groups)
      })
    },
    async createFirstAdmin({ name, password }) {
      assertGoodPassword(password, name)
      const hash = await passwords.hash(password)
      return store.transaction(() => {
        if (hasAdmin()) throw new EngineError('already_set_up', 'There is already an administrator. Sign in instead.')
        return insert(name, 'admin', hash)
      })
    },
    async update(id, change, keepSession) {
      const { name } = known(id)
      if (change.password !== undefined) assertGoodPassword(change.password, name)
      const passwordHash = change.password === undefined ? undefined : await passwords.hash(change.password)
      return store.transaction(() => {
        const before = known(id)
        const after: UserDocument = {
          ...before,
          role: change.role ?? before.role,
          // A built-in role that is given takes the place of a custom one.
          customRole:
            change.customRole ??
            (change.role === undefined && change.customRole === undefined ? (before.customRole ?? null) : null),
          groups: change.groups ?? before.groups ?? [],
          disabled: change.disabled ?? before.disabled,
          passwordHash: passwordHash ?? before.passwordHash,
        }
        if (!isActiveAdmin(after)) assertAnotherAdmin(before)
        assertRole(after.customRole ?? null)
        if (change.groups !== undefined && change.groups.join('\n') !== (before.groups ?? []).join('\n'))
          store.put('user', id, { ...before, groups: change.groups })
        const differs =
          after.role !== before.role ||
          (after.customRole ?? null) !== (before.customRole ?? null) ||
          after.disabled !== before.disabled ||
          passwordHash !== undefined
        if (!differs) return before
        store.put('user', id, after)
        endCredentials(id, keepSession)
        return after
      })
    },
    delete(id) {
      return store.transaction(() => {
        const user = known(id)
        assertAnotherAdmin(user)
        const owned = store.list<VmDocument>('vm').filter((vm) => vm.value.ownerId === id).length
        if (owned > 0) {
          throw new EngineError(
            'in_use',
            `${user.name} still owns ${owned} ${owned === 1 ? 'VM' : 'VMs'}; move or delete those first, or disable the person instead.`,
          )
        }
        endCredentials(id)
        store.delete('factor', id)
        store.delete('user', id)
        return user
      })
    },
    seen(user) {
      const now = Date.now()
      const last = user.lastSeenAt === null ? 0 : Date.parse(user.lastSeenAt)
      if (Math.abs(now - last) < SEEN_EVERY_MS) return
      const stored = store.get<UserDocument>('user', user.id)
      // Compare-and-set: a change made meanwhile (by the command line, say) must not be undone by a time stamp.
      if (stored) {
        store.cas('user', user.id, { ...stored.value, lastSeenAt: new Date(now).toISOString() }, stored.revision)
      }
    },
  }
}
