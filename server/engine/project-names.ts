/** People, groups, projects and roles by name. */
import type { Access } from '#server/access/access.ts'
import type { Store } from '#server/store/types.ts'

type Someone = { readonly type: 'person' | 'group' | 'project'; readonly id: string }

export interface Names {
  person(id: string): string
  project(id: string): string
  role(role: string): string
  party(party: Someone): string
  isKnown(party: Someone): boolean
}

export function createNames(store: Pick<Store, 'get'>, access: Access, person: (id: string) => string): Names {
  const project = (id: string) => access.projects.get(id)?.name ?? 'a project that has gone'
  return {
    person,
    project,
    role: (role) => access.roles.get(role)?.name ?? role,
    party({ type, id }) {
      if (type === 'person') return person(id)
      return type === 'project' ? project(id) : (access.groups.get(id)?.name ?? 'a group that has gone')
    },
    isKnown({ type, id }) {
      if (type === 'person') return store.get('user', id) !== null
      return type === 'project' ? access.projects.has(id) : access.groups.has(id)
    },
  }
}
