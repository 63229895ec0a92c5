/**
 * Who reaches what: projects, groups, custom roles and shares, all in memory, and what they come to for one person.
 *
 *   an object in no project   its owner, by their role; shares; whoever's role reaches all
 *   an object in a project    the project's people, by their role in it; shares; whoever's role reaches all.
 *                             Its owner reaches it as a member of the project, not as its owner
 *   an image in no project    everybody: the common library
 *
 * The store is written first, then this follows by watching it, so that several of these over one store agree.
 */
import * as z from 'zod'
import {
  type Grants,
  OBJECT_PRIVILEGES,
  type ObjectKind,
  type Privilege,
  projectPrivileges,
  type Reachable,
  ROLE_PRIVILEGES,
} from '#lib/auth/privileges.ts'
import { Role } from '#lib/schema/user.ts'
import type { Collection, Store } from '#server/store/types.ts'
import { GroupDocument, PlacementDocument, ProjectDocument, placementKey, RoleDocument } from './documents.ts'

export interface Access {
  grantsOf(userId: string): Grants
  placement(kind: ObjectKind, id: string): PlacementDocument
  projectOf(kind: ObjectKind, id: string): string | null
  readonly projects: ReadonlyMap<string, ProjectDocument>
  readonly groups: ReadonlyMap<string, GroupDocument>
  readonly roles: ReadonlyMap<string, RoleDocument>
  placements(): Iterable<{ kind: ObjectKind; id: string; placement: PlacementDocument }>
  /** What somebody may do in a project, before there is an object. */
  inProject(userId: string, projectId: string): ReadonlySet<Privilege>
  /** Differs when what a person reaches by projects, shares and roles does, VMs aside. */
  fingerprint(userId: string): string
  /** Called after anything of this changed, and may reach more or fewer people. Returns the unsubscribe function. */
  onChange(listener: () => void): () => void
  close(): void
}

const NOWHERE: PlacementDocument = { v: 1, projectId: null, shares: [] }
/** Of one that cannot be read: only who reaches all reaches it. */
const LOCKED: PlacementDocument = { v: 1, projectId: 'unreadable', shares: [] }
const NOTHING: ReadonlySet<Privilege> = new Set()
const EVERYTHING: ReadonlySet<Privilege> = new Set(ROLE_PRIVILEGES.admin)
/** Of an archived project: it is looked at, and put back by who manages it. */
const IN_ARCHIVE: ReadonlySet<Privilege> = new Set([
  'vm.view',
  'image.view',
  'volume.view',
  'project.view',
  'project.manage',
])
/** Of an image of the common library that somebody else added. */
const OF_OTHERS_IMAGES: ReadonlySet<Privilege> = new Set(['image.view'])

const User = z.object({
  id: z.string(),
  role: Role.catch('viewer'),
  customRole: z.string().nullable().default(null),
  groups: z.array(z.string()).default([]),
})
type User = z.output<typeof User>

export function createAccess(
  store: Pick<Store, 'get' | 'list' | 'watch'>,
  warn: (message: string, error?: unknown) => void = () => {},
): Access {
  const listeners = new Set<() => void>()
  /** Answers of one state of things. */
  let people = new Map<string, PersonAccess>()

  const follow = <T>(collection: Collection, schema: z.ZodType<T>, unreadable?: T) => {
    const all = new Map<string, T>()
    const take = (key: string, value: unknown): void => {
      const parsed = schema.safeParse(value)
      if (parsed.success) all.set(key, parsed.data)
      else {
        if (unreadable === undefined) all.delete(key)
        else all.set(key, unreadable)
        warn(`The stored ${collection} ${key} is unreadable and gives nothing.`, parsed.error)
      }
    }
    for (const { key, value } of store.list(collection)) take(key, value)
    const unwatch = store.watch(collection, ({ key, revision }) => {
      if (revision === null) all.delete(key)
      else take(key, store.get(collection, key)?.value)
      changed()
    })
    return { all, unwatch }
  }
  const changed = (): void => {
    people = new Map()
    for (const listener of listeners) listener()
  }
  const projects = follow('project', ProjectDocument)
  const groups = follow('group', GroupDocument)
  const roles = follow('role', RoleDocument)
  const placements = follow('placement', PlacementDocument, LOCKED)
  /** A time stamp is no change of access. */
  const essence = new Map<string, string>()
  const readUser = (id: string): User | null => User.safeParse(store.get('user', id)?.value).data ?? null
  const essenceOf = (user: User | null) =>
    user === null ? '' : JSON.stringify([user.role, user.customRole, user.groups])
  for (const { key } of store.list('user')) essence.set(key, essenceOf(readUser(key)))
  const unwatchUsers = store.watch('user', ({ key }) => {
    const now = essenceOf(readUser(key))
    if (essence.get(key) === now) return
    essence.set(key, now)
    changed()
  })

  const placement = (kind: ObjectKind, id: string) => placements.all.get(placementKey(kind, id)) ?? NOWHERE

  interface PersonAccess {
    readonly site: readonly Privilege[]
    readonly isCustom: boolean
    readonly reachesAll: boolean
    readonly isAdmin: boolean
    readonly siteSet: ReadonlySet<Privilege>
    /** Roles by project. */
    readonly projects: ReadonlyMap<string, readonly string[]>
    readonly isIn: (party: { type: 'person' | 'group' | 'project'; id: string }) => boolean
    readonly anywhere: ReadonlySet<Privilege>
    /** The same set for the same answer, so that views made for it can be kept. */
    readonly known: Map<string, ReadonlySet<Privilege>>
  }

  const verbsOf = (role: string, own: boolean): readonly Privilege[] => {
    const custom = roles.all.get(role)
    if (custom !== undefined) return custom.privileges.filter((verb) => isObjectPrivilege(verb))
    const builtIn = Role.safeParse(role)
    return builtIn.success ? projectPrivileges(builtIn.data, own) : []
  }

  const personOf = (userId: string): PersonAccess => {
    const found = people.get(userId)
    if (found !== undefined) return found
    const user = readUser(userId) ?? { id: userId, role: 'viewer' as const, customRole: null, groups: [] }
    const custom = user.customRole === null ? null : (roles.all.get(user.customRole) ?? null)
    // One that is gone gives nothing: deny by default.
    const site = user.customRole === null ? ROLE_PRIVILEGES[user.role] : (custom?.privileges ?? [])
    const own = new Set<string>()
    for (const [id, group] of groups.all)
      if (group.memberIds.includes(userId) || (group.external !== null && user.groups.includes(group.external)))
        own.add(id)
    const isParty = ({ type, id }: { type: string; id: string }) =>
      (type === 'person' && id === userId) || (type === 'group' && own.has(id))
    const memberOf = new Map<string, string[]>()
    const anywhere = new Set<Privilege>()
    for (const [id, project] of projects.all) {
      const mine = project.members.filter(({ to }) => isParty(to)).map(({ role }) => role)
      if (mine.length === 0) continue
      memberOf.set(id, mine)
      for (const role of mine)
        for (const verb of verbsOf(role, true))
          if (project.archivedAt === null || IN_ARCHIVE.has(verb)) anywhere.add(verb)
    }
    const isIn: PersonAccess['isIn'] = (party) => (party.type === 'project' ? memberOf.has(party.id) : isParty(party))
    for (const { shares } of placements.all.values())
      for (const { to, role } of shares) if (isIn(to)) for (const verb of verbsOf(role, true)) anywhere.add(verb)
    const person: PersonAccess = {
      ...{ site, isCustom: user.customRole !== null, projects: memberOf, isIn, anywhere, known: new Map() },
      isAdmin: user.customRole === null && user.role === 'admin',
      reachesAll: user.customRole === null ? user.role === 'viewer' || user.role === 'admin' : custom?.reach === 'all',
      siteSet: intern(new Set(site)),
    }
    people.set(userId, person)
    return person
  }

  /** One object for each set there is: what is kept for an answer is shared by all who get it. */
  const interned = new Map<string, ReadonlySet<Privilege>>()
  const intern = (set: ReadonlySet<Privilege>): ReadonlySet<Privilege> => {
    if (set.size === 0) return NOTHING
    const key = [...set].sort().join()
    const known = interned.get(key) ?? set
    interned.set(key, known)
    return known
  }

  const inProjectOf = (person: PersonAccess, projectId: string, own: boolean): Set<Privilege> => {
    const verbs = new Set<Privilege>()
    const project = projects.all.get(projectId)
    for (const role of person.projects.get(projectId) ?? []) for (const verb of verbsOf(role, own)) verbs.add(verb)
    if (project === undefined || project.archivedAt === null) return verbs
    return verbs.intersection(IN_ARCHIVE)
  }

  const compute = (userId: string, person: PersonAccess, object: Reachable): ReadonlySet<Privilege> => {
    const kind = object.kind ?? 'vm'
    const { projectId, shares } = object.id === undefined ? NOWHERE : placement(kind, object.id)
    const own = object.ownerId === userId
    const archived = projectId !== null && (projects.all.get(projectId)?.archivedAt ?? null) !== null
    const verbs = new Set<Privilege>()
    const add = (from: Iterable<Privilege>) => {
      for (const verb of from) if (!archived || IN_ARCHIVE.has(verb)) verbs.add(verb)
    }
    if (person.isAdmin || person.reachesAll || (own && projectId === null)) add(person.site)
    else if (kind === 'image' && projectId === null)
      add(person.siteSet.has('image.common') ? person.site : person.siteSet.intersection(OF_OTHERS_IMAGES))
    if (projectId !== null) add(inProjectOf(person, projectId, own))
    for (const { to, role } of shares) if (person.isIn(to)) add(verbsOf(role, true))
    return intern(verbs)
  }

  const grantsOf = (userId: string): Grants => ({
    siteVerbs() {
      const { isCustom, site } = personOf(userId)
      return isCustom ? site : null
    },
    anywhere: (privilege) => personOf(userId).anywhere.has(privilege),
    on(object) {
      const person = personOf(userId)
      const kind = object.kind ?? 'vm'
      const placed = object.id !== undefined && placements.all.has(placementKey(kind, object.id))
      // The common case, for lists of thousands.
      if (!placed && person.isAdmin) return EVERYTHING
      if (!placed && kind !== 'image') return person.reachesAll || object.ownerId === userId ? person.siteSet : NOTHING
      const key = `${kind}:${object.id}:${object.ownerId}`
      let known = person.known.get(key)
      if (known === undefined) {
        known = compute(userId, person, object)
        person.known.set(key, known)
      }
      return known
    },
  })

  return {
    grantsOf,
    placement,
    projectOf: (kind, id) => placement(kind, id).projectId,
    projects: projects.all,
    groups: groups.all,
    roles: roles.all,
    *placements() {
      for (const [key, one] of placements.all) {
        const at = key.indexOf(':')
        // Keys are made by `placementKey` alone.
        yield { kind: key.slice(0, at) as ObjectKind, id: key.slice(at + 1), placement: one }
      }
    },
    inProject(userId, projectId) {
      const person = personOf(userId)
      const verbs = inProjectOf(person, projectId, true)
      const archived = (projects.all.get(projectId)?.archivedAt ?? null) !== null
      if (person.isAdmin || person.reachesAll)
        for (const verb of person.site) if (!archived || IN_ARCHIVE.has(verb)) verbs.add(verb)
      return verbs
    },
    fingerprint(userId) {
      const person = personOf(userId)
      const parts = [[...person.site].join(), person.reachesAll]
      for (const [id] of person.projects) parts.push(id, [...inProjectOf(person, id, true)].join())
      for (const [key, one] of placements.all) {
        // One that left the common library is gone for everybody else.
        if (key.startsWith('image:')) parts.push(key, one.projectId ?? '')
        else if (one.projectId !== null && person.projects.has(one.projectId)) parts.push(key)
        for (const { to, role } of one.shares) if (person.isIn(to)) parts.push(key, verbsOf(role, true).join())
      }
      return parts.join(';')
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      for (const { unwatch } of [projects, groups, roles, placements]) unwatch()
      unwatchUsers()
      listeners.clear()
    },
  }
}

const isObjectPrivilege = (verb: Privilege) => (OBJECT_PRIVILEGES as readonly Privilege[]).includes(verb)
