/**
 * The one place in which a caller's right to an operation on an object is judged: the privilege that the contract
 * declares for it, on the object its path names. What the caller does not reach does not exist.
 */
import type { AboutKind } from '#lib/api/object-of.ts'
import { type Privilege, privilegesOn, type Reachable } from '#lib/auth/privileges.ts'
import type { Access } from '#server/access/access.ts'
import { LOOK_ONLY } from './access.ts'
import { EngineError } from './errors.ts'
import type { Caller, Engine } from './types.ts'

export interface AuthorizeDeps {
  readonly access: Access
  /** The object as far as access goes; null: there is none. */
  readonly find: Readonly<
    Record<Exclude<AboutKind, 'project'>, (id: string) => Reachable | null | Promise<Reachable | null>>
  >
}

const MISSING: Readonly<Record<AboutKind, string>> = {
  vm: 'There is no such VM.',
  image: 'There is no such image.',
  volume: 'There is no such disk.',
  backup: 'There is no such backup.',
  'backup-schedule': 'There is no such schedule.',
  project: 'There is no such project.',
}

/** The function throws `not_found` where the object is out of reach, `forbidden` where the privilege is missing. */
export function createAuthorize({ access, find }: AuthorizeDeps): Engine['authorize'] {
  const privilegesOf = async (caller: Caller, kind: AboutKind, id: string): Promise<ReadonlySet<Privilege>> => {
    if (kind !== 'project') {
      const object = await find[kind](id)
      return object === null ? new Set() : privilegesOn(caller, object)
    }
    if (!access.projects.has(id)) return new Set()
    const all = access.inProject(caller.userId, id)
    const scope = caller.scope ?? null
    return scope === null ? all : new Set([...all].filter((verb) => scope.privileges.includes(verb)))
  }
  return async (caller, privilege, kind, id) => {
    const privileges = await privilegesOf(caller, kind, id)
    if (privileges.size === 0) throw new EngineError('not_found', MISSING[kind])
    if (!privileges.has(privilege)) throw new EngineError('forbidden', LOOK_ONLY)
  }
}
