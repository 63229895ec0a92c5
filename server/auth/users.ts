/** People: shared by the API and the command line, which may work on the same store at the same time. */
import { randomUUIDv7 } from 'node:crypto'
import type * as z from 'zod'
import type { Role } from '#lib/schema/user.ts'
import type { SessionDocument, TokenDocument, UserDocument } from '#server/auth/documents.ts'
import type { Passwords } from '#server/auth/passwords.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store, VmDocument } from '#server/store/types.ts'

type UserRole = z.output<typeof Role>

export interface UserChange {
  readonly role?: UserRole | undefined
  readonly password?: string | undefined
  readonly disabled?: boolean | undefined
}

export interface Users {
  list(): UserDocument[]
  get(id: string): UserDocument | null
  byName(name: string): UserDocument | null
  /** Whether somebody can administrate: until then the setup code is valid. */
  hasAdmin(): boolean
  /** @throws EngineError name_taken, busy */
  create(input: { name: string; password: string; role: UserRole }): Promise<UserDocument>
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

export function createUsers(store: Store, passwords: Passwords): Users {
  const list = () => store.list<UserDocument>('user').map((stored) => stored.value)
  const get = (id: string) => store.get<UserDocument>('user', id)?.value ?? null
  const byName = (name: string) => list().find((user) => user.name === name) ?? null
  const isActiveAdmin = (user: UserDocument) => user.role === 'admin' && !user.disabled
  const hasAdmin = () => list().some(isActiveAdmin)

  const known = (id: string): UserDocument => {
    const user = get(id)
    if (!user) throw new EngineError('not_found', 'There is no such person.')
    return user
  }

  const assertAnotherAdmin = (leaving: UserDocument): void => {
    if (!isActiveAdmin(leaving)) return
    if (list().some((user) => user.id !== leaving.id && isActiveAdmin(user))) return
    throw new EngineError(
      'last_admin',
      `${leaving.name} is the last administrator; make somebody else administrator first.`,
    )
  }

  const insert = (name: string, role: UserRole, passwordHash: string): UserDocument => {
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
    async create({ name, password, role }) {
      if (byName(name)) {
        throw new EngineError('name_taken', `There is already somebody called ${name}.`, { field: 'name' })
      }
      const hash = await passwords.hash(password)
      // Checked again inside: another request or the command line may have been faster.
      return store.transaction(() => insert(name, role, hash))
    },
    async createFirstAdmin({ name, password }) {
      const hash = await passwords.hash(password)
      return store.transaction(() => {
        if (hasAdmin()) throw new EngineError('already_set_up', 'There is already an administrator. Sign in instead.')
        return insert(name, 'admin', hash)
      })
    },
    async update(id, change, keepSession) {
      known(id)
      const passwordHash = change.password === undefined ? undefined : await passwords.hash(change.password)
      return store.transaction(() => {
        const before = known(id)
        const after: UserDocument = {
          ...before,
          role: change.role ?? before.role,
          disabled: change.disabled ?? before.disabled,
          passwordHash: passwordHash ?? before.passwordHash,
        }
        if (!isActiveAdmin(after)) assertAnotherAdmin(before)
        const differs = after.role !== before.role || after.disabled !== before.disabled || passwordHash !== undefined
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
            `${user.name} still owns ${owned} ${owned === 1 ? 'VM' : 'VMs'}; delete those first, or disable the person instead.`,
          )
        }
        endCredentials(id)
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
