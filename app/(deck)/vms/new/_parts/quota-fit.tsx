'use client'
import { useQuery } from '@tanstack/react-query'
import { QuotaBars } from '#components/access/quota-bars.tsx'
import { Link } from '#components/nav/link.tsx'
import { effectiveDrive, shownValue } from '#components/vm/fields/form.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useUser } from '#lib/client/session.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { quotas } from '#lib/i18n/messages/en/quotas.ts'
import { paths } from '#lib/paths.ts'
import type { QuotaItem, QuotaUse } from '#lib/schema/quota.ts'
import type { CreateForm } from './use-create-form.ts'

/** What a VM can take of a quota, from its form. */
const ITEMS: readonly QuotaItem[] = [
  'vms',
  'vcpus',
  'runningVcpus',
  'memoryMiB',
  'runningMemoryMiB',
  'diskGiB',
  'ports',
]
const RUNNING: readonly QuotaItem[] = ['runningVcpus', 'runningMemoryMiB']

/** Before the click: what this VM would take of the limits that count, and what is left. Nothing where none count. */
export function QuotaFit({ page }: { readonly page: CreateForm }) {
  const t = useT(create)
  const tQuota = useT(quotas)
  const me = useUser()?.id
  const { project, form, homes } = page
  const holders = useQuery(queries.usage()).data?.holders
  const holder = holders?.find(({ type, id }) =>
    project === '' ? type === 'person' && id === me : type === 'project' && id === project,
  )
  const items = ITEMS.filter((item) => holder !== undefined && holder.limits[item] !== null)
  if (holder === undefined || items.length === 0) return null
  const more = takesOf(page)
  const over = items.filter((item) => holder.used[item] + more[item] > (holder.limits[item] ?? 0))
  // What the server refuses stands with the problems already.
  const untold = over.filter((item) => RUNNING.includes(item) || form.broken?.length === 0)
  const title =
    project === ''
      ? t('quota.own')
      : t('quota.project', { name: homes.projects.find(({ id }) => id === project)?.name ?? '' })
  return (
    <section aria-label={title} className="flex flex-col gap-2">
      <h3>{title}</h3>
      <QuotaBars used={holder.used} limits={holder.limits} more={more} items={items} className="grid-cols-1 text-sm" />
      {untold.length > 0 && (
        <p className="text-attention text-sm">
          {t('quota.over', { item: untold.map((item) => tQuota(`item.${item}`)).join(', ') })}
        </p>
      )}
      <p className="flex flex-wrap gap-x-3 text-faint text-sm">
        {t('quota.note')} <Link href={paths.usage()}>{t('quota.see')}</Link>
      </p>
    </section>
  )
}

function takesOf({ form }: CreateForm): QuotaUse {
  const { draft, effective } = form
  const cpus = shownValue(form, 'cpus') ?? 0
  const extra = effective?.dimms.reduce((sum, { sizeMiB }) => sum + sizeMiB, 0) ?? 0
  const memoryMiB = (shownValue(form, 'memoryMiB') ?? 0) + extra + (effective?.virtioMem?.requestedMiB ?? 0)
  const diskGiB = draft.drives.reduce((sum, drive, row) => {
    if (drive.device !== 'disk') return sum
    const known = effectiveDrive(form, row)
    return sum + (drive.sizeGiB ?? (known?.device === 'disk' ? known.sizeGiB : 0))
  }, 0)
  const ports = draft.cards.reduce((sum, card) => sum + card.forwards.length, 0)
  return {
    ...{ vms: 1, vcpus: cpus, runningVcpus: cpus, memoryMiB, runningMemoryMiB: memoryMiB, diskGiB, ports },
    ...{ snapshots: 0, uploads: 0, libraryMiB: 0, backupGiB: 0, consoles: 0 },
  }
}
