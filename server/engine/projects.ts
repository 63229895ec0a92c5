/** Projects, groups and custom roles as the API knows them. */
import { randomUUIDv7 } from 'node:crypto'
import * as z from 'zod'
import { mayOnSite, OBJECT_PRIVILEGES, PRIVILEGES, projectPrivileges, ROLE_PRIVILEGES } from '#lib/auth/privileges.ts'
import { GroupId, ProjectId, RoleId, UserId } from '#lib/schema/ids.ts'
import type { CustomRole, Group, Membership, Party, Project } from '#lib/schema/project.ts'
import { PROJECT_QUOTA_ITEMS, type QuotaItem } from '#lib/schema/quota.ts'
import { Role } from '#lib/schema/user.ts'
import type { Access } from '#server/access/access.ts'
import { type GroupDocument, type ProjectDocument, type RoleDocument, sameParty } from '#server/access/documents.ts'
import type { Quotas } from '#server/access/quotas.ts'
import type { Collection, Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Names } from './project-names.ts'
import type { Caller, ProjectEngine } from './types.ts'

export interface ProjectEngineDeps {
  readonly store: Store
  readonly access: Access
  readonly journal: Journal
  readonly names: Names
  readonly quotas: Pick<Quotas, 'limitsOf' | 'set'>
  /** VMs, free disks and images a project owns. */
  readonly contents: (projectId: string) => { vms: number; running: number; volumes: number; images: number }
  readonly now?: () => Date
}

const fold = (name: string) => name.normalize('NFKC').toLowerCase()
const User = z.object({
  id: z.string(),
  name: z.string(),
  disabled: z.boolean().default(false),
  customRole: z.string().nullable().default(null),
})

export function createProjectEngine(deps: ProjectEngineDeps): ProjectEngine {
  const { store, access, journal, names, quotas } = deps
  const now = () => (deps.now ?? (() => new Date()))().toISOString()
  const users = () =>
    store.list('user').flatMap(({ value }) => {
      const user = User.safeParse(value).data
      return user === undefined ? [] : [user]
    })
  const note = (what: string, caller: Caller, text: string, id: string, name: string): void =>
    journal.write({ what, text, caller, result: 'ok', objectId: id, objectName: name, durable: true })
  const assertNameFree = (all: ReadonlyMap<string, { id: string; name: string }>, name: string, but: string | null) => {
    for (const one of all.values())
      if (one.id !== but && fold(one.name) === fold(name))
        throw new EngineError('name_taken', `There is already one called ${one.name}; choose another name.`, {
          field: 'name',
        })
  }
  /** Of those that were in it already one may have gone since: they must not keep the others from being changed. */
  const assertMembers = (members: readonly Membership[], before: ProjectDocument['members'] = []): void => {
    members.forEach(({ to, role }, index) => {
      if (before.some((old) => sameParty(old.to, to) && old.role === role)) return
      if (!names.isKnown(to))
        throw new EngineError('bad_input', 'There is nobody of this id.', { field: `members.${index}.to` })
      if (!Role.safeParse(role).success && !access.roles.has(role))
        throw new EngineError('bad_input', 'There is no such role.', { field: `members.${index}.role` })
    })
  }
  const requireIn = <T>(all: ReadonlyMap<string, T>, id: string, what: string): T => {
    const found = all.get(id)
    if (found === undefined) throw new EngineError('not_found', `There is no such ${what}.`)
    return found
  }
  /**
   * Projects count for themselves, so that somebody with limits would have as many times as much as they begin projects.
   * Theirs begin without room, and an administrator gives it.
   */
  const limitsAtFirst = (caller: Caller): { [K in QuotaItem]?: number } | null => {
    if (mayOnSite(caller, 'quota.manage')) return null
    const { limits } = quotas.limitsOf({ type: 'person', id: caller.userId })
    const held = PROJECT_QUOTA_ITEMS.filter((item) => limits[item] !== null)
    return held.length === 0 ? null : Object.fromEntries(held.map((item) => [item, 0]))
  }
  /** Reads and writes in one step, so that no change of somebody else is lost. */
  const replace = <T extends { id: string }>(
    collection: Collection,
    id: string,
    expected: number | null,
    next: T,
  ): void => {
    const stored = store.get(collection, id)
    if (stored === null || (expected !== null && stored.revision !== expected))
      throw new EngineError('stale_revision', 'Somebody changed this since you loaded it. Nothing was saved.')
    store.cas(collection, id, next, stored.revision)
  }

  const projectVerbs = (caller: Caller, id: string) => {
    const verbs = access.inProject(caller.userId, id)
    const scope = caller.scope ?? null
    return PRIVILEGES.filter((verb) => verbs.has(verb) && (scope === null || scope.privileges.includes(verb)))
  }
  const projectView = (caller: Caller, project: ProjectDocument): Project => {
    const privileges = projectVerbs(caller, project.id)
    return {
      id: ProjectId.parse(project.id),
      name: project.name,
      description: project.description,
      // Parsed when they were written.
      members: project.members.map(
        ({ to, role }) => ({ to, role, name: names.party(to) }) as Project['members'][number],
      ),
      archivedAt: project.archivedAt,
      counts: deps.contents(project.id),
      privileges,
      createdAt: project.createdAt,
      revision: store.get('project', project.id)?.revision ?? 1,
    }
  }
  const requireProject = (caller: Caller, id: string): ProjectDocument => {
    const project = requireIn(access.projects, id, 'project')
    if (projectVerbs(caller, id).length === 0) throw new EngineError('not_found', 'There is no such project.')
    return project
  }
  const groupView = (group: GroupDocument): Group => ({
    id: GroupId.parse(group.id),
    name: group.name,
    members: group.memberIds.map((id) => ({ id: UserId.parse(id), name: names.person(id) })),
    external: group.external,
    createdAt: group.createdAt,
    revision: store.get('group', group.id)?.revision ?? 1,
  })
  const usesOfRole = (id: string): number => {
    let uses = users().filter((user) => user.customRole === id).length
    for (const { members } of access.projects.values()) uses += members.filter(({ role }) => role === id).length
    for (const { placement } of access.placements()) uses += placement.shares.filter(({ role }) => role === id).length
    return uses
  }
  const roleView = (role: RoleDocument): CustomRole => ({
    id: RoleId.parse(role.id),
    name: role.name,
    description: role.description,
    privileges: [...role.privileges],
    reach: role.reach,
    uses: usesOfRole(role.id),
    createdAt: role.createdAt,
    revision: store.get('role', role.id)?.revision ?? 1,
  })
  const sorted = <T extends { readonly name: string }>(list: Iterable<T>): T[] =>
    [...list].sort((a, b) => a.name.localeCompare(b.name))
  const membersInWords = (members: readonly { to: Pick<Party, 'type'> & { id: string }; role: string }[]) =>
    members.length === 0
      ? 'nobody'
      : members.map(({ to, role }) => `${names.party(to)} (${names.role(role)})`).join(', ')

  return {
    async list(caller) {
      const seen = sorted(access.projects.values()).filter(({ id }) => projectVerbs(caller, id).length > 0)
      return { items: seen.map((project) => projectView(caller, project)) }
    },
    view: async (caller, id) => projectView(caller, requireProject(caller, id)),
    async create(caller, input) {
      assertNameFree(access.projects, input.name, null)
      const self: Membership = { to: { type: 'person', id: UserId.parse(caller.userId) }, role: 'admin' }
      const others = input.members.filter(({ to }) => !(to.type === 'person' && to.id === caller.userId))
      assertMembers(others)
      const project: ProjectDocument = {
        ...{ v: 1, id: randomUUIDv7(), name: input.name, description: input.description },
        ...{ members: [self, ...others], archivedAt: null, createdAt: now() },
      }
      const limits = limitsAtFirst(caller)
      store.transaction(() => {
        store.put('project', project.id, project)
        if (limits !== null) quotas.set({ type: 'project', id: project.id }, limits)
      })
      note(
        'projectCreate',
        caller,
        `${caller.name} began the project ${project.name} with ${membersInWords(project.members)}.`,
        project.id,
        project.name,
      )
      return projectView(caller, project)
    },
    async update(caller, id, patch, expected) {
      const before = requireProject(caller, id)
      if (patch.name !== undefined) assertNameFree(access.projects, patch.name, id)
      if (patch.members !== undefined) assertMembers(patch.members, before.members)
      const { running } = deps.contents(id)
      if (patch.archived === true && before.archivedAt === null && running > 0)
        throw new EngineError(
          'in_use',
          `${running} of its VMs ${running === 1 ? 'runs' : 'run'}; shut them down before the project is archived.`,
        )
      const after: ProjectDocument = {
        ...before,
        name: patch.name ?? before.name,
        description: patch.description ?? before.description,
        members: patch.members ?? before.members,
        archivedAt:
          patch.archived === undefined ? before.archivedAt : patch.archived ? (before.archivedAt ?? now()) : null,
      }
      replace('project', id, expected, after)
      const words = [
        patch.name !== undefined && patch.name !== before.name && `renamed it to ${patch.name}`,
        patch.members !== undefined && `set who is in it: ${membersInWords(after.members)}`,
        patch.archived === true && 'archived it',
        patch.archived === false && 'took it out of the archive',
      ].filter((part) => part !== false)
      note(
        'projectUpdate',
        caller,
        `${before.name}: ${caller.name} ${words.length === 0 ? 'changed it' : words.join(', ')}.`,
        id,
        after.name,
      )
      return projectView(caller, after)
    },
    async delete(caller, id) {
      const project = requireProject(caller, id)
      const { vms, volumes, images } = deps.contents(id)
      if (vms + volumes + images > 0)
        throw new EngineError(
          'in_use',
          `It still owns ${vms} VMs, ${volumes} free disks and ${images} images; move or delete them first, or archive the project.`,
        )
      store.transaction(() => {
        store.delete('project', id)
        store.delete('quota', `project:${id}`)
      })
      note('projectDelete', caller, `${caller.name} removed the project ${project.name}.`, id, project.name)
    },
    async directory(caller) {
      const projects = sorted(access.projects.values()).filter(({ id }) => projectVerbs(caller, id).length > 0)
      return {
        people: sorted(users().filter(({ disabled }) => !disabled)).map(({ id, name }) => ({
          id: UserId.parse(id),
          name,
        })),
        groups: sorted(access.groups.values()).map(({ id, name }) => ({ id: GroupId.parse(id), name })),
        projects: projects.map(({ id, name, archivedAt }) => ({
          id: ProjectId.parse(id),
          name,
          archived: archivedAt !== null,
          mayCreate: archivedAt === null && projectVerbs(caller, id).includes('vm.create'),
        })),
        roles: sorted(access.roles.values()).map(({ id, name }) => ({ id: RoleId.parse(id), name })),
      }
    },
    groups: async () => ({ items: sorted(access.groups.values()).map(groupView) }),
    async createGroup(caller, input) {
      assertNameFree(access.groups, input.name, null)
      for (const id of input.memberIds)
        if (!names.isKnown({ type: 'person', id }))
          throw new EngineError('bad_input', 'There is nobody of this id.', { field: 'memberIds' })
      const group: GroupDocument = { v: 1, id: randomUUIDv7(), ...input, createdAt: now() }
      store.put('group', group.id, group)
      note('groupCreate', caller, `${caller.name} made the group ${group.name}.`, group.id, group.name)
      return groupView(group)
    },
    async updateGroup(caller, id, patch, expected) {
      const before = requireIn(access.groups, id, 'group')
      if (patch.name !== undefined) assertNameFree(access.groups, patch.name, id)
      for (const member of patch.memberIds ?? [])
        if (!before.memberIds.includes(member) && !names.isKnown({ type: 'person', id: member }))
          throw new EngineError('bad_input', 'There is nobody of this id.', { field: 'memberIds' })
      const after: GroupDocument = {
        ...before,
        name: patch.name ?? before.name,
        memberIds: patch.memberIds ?? before.memberIds,
        external: patch.external === undefined ? before.external : patch.external,
      }
      replace('group', id, expected, after)
      const who = after.memberIds.map(names.person).join(', ') || 'nobody'
      note('groupUpdate', caller, `${caller.name} changed the group ${after.name}; in it: ${who}.`, id, after.name)
      return groupView(after)
    },
    async deleteGroup(caller, id) {
      const { name } = requireIn(access.groups, id, 'group')
      store.delete('group', id)
      note('groupDelete', caller, `${caller.name} removed the group ${name}.`, id, name)
    },
    async roles(caller) {
      return {
        builtIn: Role.options.map((role) => ({
          role,
          privileges: [...ROLE_PRIVILEGES[role]],
          inProjects: OBJECT_PRIVILEGES.filter((verb) => projectPrivileges(role, true).includes(verb)),
        })),
        // How many have one is for those who manage people.
        custom: sorted(access.roles.values())
          .map(roleView)
          .map((role) => (mayOnSite(caller, 'user.manage') ? role : { ...role, uses: 0 })),
      }
    },
    async createRole(caller, input) {
      assertNameFree(access.roles, input.name, null)
      const role: RoleDocument = { v: 1, id: randomUUIDv7(), ...input, createdAt: now() }
      store.put('role', role.id, role)
      note(
        'roleCreate',
        caller,
        `${caller.name} made the role ${role.name}: ${role.privileges.join(', ')}.`,
        role.id,
        role.name,
      )
      return roleView(role)
    },
    async updateRole(caller, id, patch, expected) {
      const before = requireIn(access.roles, id, 'role')
      if (patch.name !== undefined) assertNameFree(access.roles, patch.name, id)
      const after: RoleDocument = {
        ...before,
        name: patch.name ?? before.name,
        description: patch.description ?? before.description,
        privileges: patch.privileges ?? before.privileges,
        reach: patch.reach ?? before.reach,
      }
      replace('role', id, expected, after)
      note(
        'roleUpdate',
        caller,
        `${caller.name} changed the role ${after.name}: ${after.privileges.join(', ')}.`,
        id,
        after.name,
      )
      return roleView(after)
    },
    async deleteRole(caller, id) {
      const { name } = requireIn(access.roles, id, 'role')
      const uses = usesOfRole(id)
      if (uses > 0)
        throw new EngineError('in_use', `The role ${name} is given ${uses} times; give those another one first.`)
      store.delete('role', id)
      note('roleDelete', caller, `${caller.name} removed the role ${name}.`, id, name)
    },
  }
}
