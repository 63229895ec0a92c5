'use client'
import { useQuery } from '@tanstack/react-query'
import { useCallback } from 'react'
import type { Privilege } from '#lib/auth/privileges.ts'
import { OBJECT_PRIVILEGES } from '#lib/auth/privileges.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { access } from '#lib/i18n/messages/en/access.ts'
import { account } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

/** Message key of a privilege: dots would be paths. */
export const wordOf = (privilege: Privilege) =>
  `privilege.${privilege.replaceAll('.', '_')}` as `privilege.${'vm_view' | 'host_view'}`

const BUILT_IN = ['viewer', 'member', 'operator', 'admin'] as const
type BuiltIn = (typeof BUILT_IN)[number]
const isBuiltIn = (role: string): role is BuiltIn => BUILT_IN.some((known) => known === role)

export interface RoleChoice {
  readonly value: string
  readonly label: string
  readonly description: string
}

/** Roles by name with what each lets somebody do: in a project, or with one object. */
export function useRoleWords(where: 'project' | 'vm' | 'image' | 'volume') {
  const t = useT(access)
  const tApp = useT(app)
  const tVerb = useT(account)
  const custom = useQuery(queries.roleList()).data?.custom
  const verbs = useCallback(
    (privileges: readonly Privilege[]) =>
      privileges
        .filter((verb) => OBJECT_PRIVILEGES.some((known) => known === verb))
        .map((verb) => tVerb(wordOf(verb)))
        .join(', '),
    [tVerb],
  )
  const explain = (role: string): string => {
    const found = custom?.find(({ id }) => id === role)
    if (found !== undefined) return t('customRole', { verbs: verbs(found.privileges) })
    if (!isBuiltIn(role)) return ''
    if (where === 'project') return t(`inProject.${role}`)
    const known = role === 'viewer' ? 'viewer' : 'operator'
    if (where === 'vm') return t(`onVm.${known}`)
    return where === 'image' ? t(`onImage.${known}`) : t(`onVolume.${known}`)
  }
  const name = (role: string): string =>
    custom?.find(({ id }) => id === role)?.name ?? (isBuiltIn(role) ? tApp(`role.${role}`) : role)
  const builtIn: readonly BuiltIn[] = where === 'project' ? BUILT_IN : ['viewer', 'operator']
  const choices: RoleChoice[] = [...builtIn, ...(custom ?? []).map(({ id }) => id as string)].map((value) => ({
    value,
    label: name(value),
    description: explain(value),
  }))
  return { choices, name, explain }
}
