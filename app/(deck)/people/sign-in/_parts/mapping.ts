/** Roles by group as lines of text, which is how people have them in other systems. */
import type { GroupRole } from '#lib/schema/sign-in.ts'
import type { Role } from '#lib/schema/user.ts'

const ROLES: readonly Role[] = ['viewer', 'member', 'operator', 'admin']

export const linesOf = (roles: readonly GroupRole[]): string =>
  roles.map(({ group, role }) => `${group} = ${role}`).join('\n')

/** A number is the line that is none of the form `group = role`. The group may hold `=`, as DNs do. */
export function rolesOf(text: string): GroupRole[] | number {
  const roles: GroupRole[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const cut = line.lastIndexOf('=')
    const group = line.slice(0, Math.max(0, cut)).trim()
    const role = ROLES.find((known) => known === line.slice(cut + 1).trim())
    if (group === '' || role === undefined) return index + 1
    roles.push({ group, role })
  }
  return roles
}
