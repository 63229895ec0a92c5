'use client'
import { useQuery } from '@tanstack/react-query'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { access as messages } from '#lib/i18n/messages/en/access.ts'
import type { Party } from '#lib/schema/project.ts'

export const partyKey = ({ type, id }: { readonly type: string; readonly id: string }) => `${type}:${id}`
/** What the select gives, as the API takes it. */
export function partyOf(key: string): { type: Party['type']; id: string } | null {
  const at = key.indexOf(':')
  const type = key.slice(0, at)
  return type === 'person' || type === 'group' || type === 'project' ? { type, id: key.slice(at + 1) } : null
}

/** A person, a group or, for shares, a project. Who is in `taken` is left out. */
export function PartySelect({
  value,
  onValue,
  taken,
  withProjects = false,
  label,
  error,
  disabledReason,
  className,
}: {
  readonly value: string
  readonly onValue: (key: string) => void
  readonly taken: ReadonlySet<string>
  readonly withProjects?: boolean
  readonly label?: string
  readonly error?: string | undefined
  readonly disabledReason?: string | null
  readonly className?: string
}) {
  const t = useT(messages)
  const directory = useQuery({ ...queries.directory(), enabled: !disabledReason }).data
  const options = [
    ...(directory?.people ?? []).map(({ id, name }) => ({ value: `person:${id}`, label: name })),
    ...(directory?.groups ?? []).map(({ id, name }) => ({ value: `group:${id}`, label: t('kinds.groupOf', { name }) })),
    ...(withProjects ? (directory?.projects ?? []) : []).map(({ id, name }) => ({
      value: `project:${id}`,
      label: t('kinds.projectOf', { name }),
    })),
  ].filter((option) => !taken.has(option.value))
  return (
    <Select
      label={label ?? t('to')}
      value={value}
      onChange={(event) => onValue(event.target.value)}
      options={[{ value: '', label: t('choose') }, ...options]}
      hint={directory !== undefined && options.length === 0 ? t('nobodyLeft') : undefined}
      error={error}
      disabledReason={disabledReason}
      className={className}
    />
  )
}
