/** What a person counts as where only the built-in role is looked at. */
import type { Role } from '#lib/schema/user.ts'

/** A custom role takes the place of the built-in one: nothing that looks at this alone may give what that gave. */
export const builtInRole = (user: { readonly role: Role; readonly customRole?: string | null | undefined }): Role =>
  (user.customRole ?? null) === null ? user.role : 'member'
