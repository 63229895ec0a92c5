/** People as the engine knows them: a name to show, and what somebody may in whose name a schedule or a link acts. */
import * as z from 'zod'
import type { Authority } from '#lib/auth/privileges.ts'
import { Role } from '#lib/schema/user.ts'
import type { Access } from '#server/access/access.ts'
import { builtInRole } from '#server/access/standing.ts'
import type { Store } from '#server/store/types.ts'

const Name = z.object({ name: z.string() })
const User = z.object({
  name: z.string(),
  role: Role,
  customRole: z.string().nullish(),
  disabled: z.boolean().default(false),
})

export interface People {
  /** `unknown` for who has gone. */
  name(id: string): string
  /** What they may now; null: gone, or may not sign in. */
  person(id: string): ({ readonly name: string } & Pick<Authority, 'role' | 'grants'>) | null
  close(): void
}

export function createPeople(store: Store, access: Access, onChange: () => void): People {
  const names = new Map<string, string>()
  const unwatch = store.watch('user', ({ key }) => {
    names.delete(key)
    onChange()
  })
  return {
    name(id) {
      let name = names.get(id)
      if (name === undefined) {
        name = Name.safeParse(store.get('user', id)?.value).data?.name ?? 'unknown'
        names.set(id, name)
      }
      return name
    },
    person(id) {
      const user = User.safeParse(store.get('user', id)?.value).data
      if (user === undefined || user.disabled) return null
      return { name: user.name, role: builtInRole(user), grants: access.grantsOf(id) }
    },
    close: unwatch,
  }
}
