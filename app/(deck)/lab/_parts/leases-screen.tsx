'use client'
import { useQuery } from '@tanstack/react-query'
import NextLink from 'next/link'
import { useState } from 'react'
import { LeaseDialog } from '#components/lab/lease-dialog.tsx'
import { IdleText, LeaseText } from '#components/lab/lease-text.tsx'
import { useExtend } from '#components/lab/use-extend.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { VmStateMark } from '#components/vm/vm-state.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { paths } from '#lib/paths.ts'
import type { VmLease } from '#lib/schema/lab.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { LabFrame } from './lab-frame.tsx'

const ORDER = ['suspended', 'warned', 'active', 'archived'] as const
const place = ({ lab }: VmLease) => (lab.lease === null ? 2 : ORDER.indexOf(lab.lease.phase))

/** VMs with an end, those that need somebody first. */
export function LeasesScreen() {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.leases())
  const vms = useQuery(queries.vmList()).data?.items ?? []
  const items = [...(data?.items ?? [])].sort(
    (a, b) => place(a) - place(b) || (a.lab.lease?.endsAt ?? '9').localeCompare(b.lab.lease?.endsAt ?? '9'),
  )
  return (
    <LabFrame intro={t('lease.intro')}>
      <Section title={t('lease.list')} note={data && <span className="figures">{items.length}</span>}>
        {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
        {data === undefined && !error && <Skeleton className="h-24 w-full" />}
        {data?.items.length === 0 && <EmptyState title={t('lease.empty')}>{t('lease.emptyBody')}</EmptyState>}
        <ul className="-mt-3 flex flex-col">
          {items.flatMap((item) => {
            const vm = vms.find(({ id }) => id === item.vmId)
            return vm === undefined ? [] : [<Line key={item.vmId} item={item} vm={vm} />]
          })}
        </ul>
      </Section>
    </LabFrame>
  )
}

function Line({ item, vm }: { readonly item: VmLease; readonly vm: Vm }) {
  const t = useT(messages)
  const locale = useLocale()
  const [isOpen, setOpen] = useState(false)
  const { extend, isPending } = useExtend(vm)
  const { lease, idle } = item.lab
  const { extendsTo, reason } = item.choices
  const isOver = lease?.phase === 'suspended' || lease?.phase === 'archived'
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 border-line border-b py-3">
      <div className="min-w-0 flex-1 basis-60">
        <p className="flex flex-wrap items-center gap-2">
          <NextLink href={paths.vmLab(vm.id)} prefetch={false} className="break-all font-medium underline">
            {vm.name}
          </NextLink>
          <VmStateMark state={vm.state} />
          {idle !== null && <Badge tone="attention">{t(idle.paused ? 'idle.pausedTag' : 'idle.tag')}</Badge>}
        </p>
        <p className="text-dim text-sm">{vm.owner.name}</p>
      </div>
      <div className="min-w-0 flex-1 basis-72">
        {lease === null ? <p className="text-faint">{t('lease.none')}</p> : <LeaseText lease={lease} />}
        {idle !== null && <IdleText idle={idle} />}
      </div>
      <div className="flex flex-wrap gap-2">
        <Button
          size="sm"
          pending={isPending}
          disabledReason={reason}
          data-tip={extendsTo === null ? undefined : t('lease.extendTo', { date: formatAbsolute(extendsTo, locale) })}
          onClick={extend}
        >
          {t(isOver ? 'lease.undo' : 'lease.extend')}
        </Button>
        <Button
          size="sm"
          disabledReason={extendsTo === null && item.choices.latest === null ? reason : null}
          onClick={() => setOpen(true)}
        >
          {t('lease.set')}
        </Button>
      </div>
      {isOpen && <LeaseDialog lease={item} name={vm.name} onClose={() => setOpen(false)} />}
    </li>
  )
}
