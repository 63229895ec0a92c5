'use client'
import { useQuery } from '@tanstack/react-query'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { vms as messages } from '#lib/i18n/messages/en/vms.ts'
import { formatSearch, parseSearch } from '#lib/vm/search.ts'

/** Chooses among projects by writing `project:` into the search line; nothing where there are no projects. */
export function ProjectFilter({ text, onText }: { readonly text: string; readonly onText: (text: string) => void }) {
  const t = useT(messages)
  const projects = useQuery(queries.projectList()).data?.items ?? []
  if (projects.length === 0) return null
  const terms = parseSearch(text)
  const isFilter = (term: (typeof terms)[number]) => term.key === 'project' && !term.negated
  const chosen = terms.filter(isFilter)
  const value = chosen.length === 1 ? (chosen[0]?.value ?? '') : ''
  const options = [
    { value: '', label: t('allProjects') },
    { value: 'none', label: t('noProject') },
    ...projects.map(({ name }) => ({ value: name.toLowerCase(), label: name })),
  ]
  return (
    <Select
      className="w-40"
      label={t('projectFilter')}
      hideLabel
      value={options.some((option) => option.value === value) ? value : ''}
      onChange={(event) => {
        const next = event.target.value
        const others = terms.filter((term) => !isFilter(term))
        onText(formatSearch(next === '' ? others : [...others, { key: 'project', value: next, negated: false }]))
      }}
      options={options}
    />
  )
}
