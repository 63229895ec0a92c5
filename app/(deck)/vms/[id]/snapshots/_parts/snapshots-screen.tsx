'use client'
import { useQuery } from '@tanstack/react-query'
import { Camera } from 'lucide-react'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Page, Section } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import { Schedules } from './schedules.tsx'
import { SnapshotDetails } from './snapshot-details.tsx'
import { SnapshotJobs } from './snapshot-jobs.tsx'
import { SnapshotTree } from './snapshot-tree.tsx'
import { TakeDialog } from './take-dialog.tsx'

/** The points this VM can go back to, as a tree, and the schedules that make them. */
export function SnapshotsScreen() {
  const t = useT(messages)
  const vm = useVm()
  const { data, error, refetch } = useQuery(queries.snapshots(vm.id))
  const [chosen, setChosen] = useState<string | null>(null)
  const [isTaking, setTaking] = useState(false)
  const items = data?.items ?? []
  const shown = items.find(({ id }) => id === (chosen ?? data?.current)) ?? items.at(-1)
  const canTake = data === undefined || data.create.memory.allowed || data.create.disk.allowed
  const why = canTake ? null : (data?.create[data.kind ?? 'disk'].reason ?? null)
  const take = (
    <Button
      variant="primary"
      icon={<Camera size={16} aria-hidden="true" />}
      disabledReason={why}
      onClick={() => setTaking(true)}
    >
      {t('take')}
    </Button>
  )
  return (
    <Page>
      <Section
        title={t('title')}
        note={data && <span className="figures">{t('count', { count: items.length, max: data.max })}</span>}
        actions={items.length > 0 && take}
      >
        <SnapshotJobs vmId={vm.id} />
        {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
        {data === undefined && !error && <Skeleton className="h-40 w-full" />}
        {data !== undefined && items.length === 0 && (
          <EmptyState title={t('none')} actions={take}>
            {t('noneBody')}
          </EmptyState>
        )}
        {data !== undefined && shown !== undefined && (
          <div className="grid gap-5 lg:grid-cols-[minmax(0,1fr)_24rem]">
            <SnapshotTree items={items} current={data.current} shown={shown.id} onShow={setChosen} />
            <SnapshotDetails key={shown.id} snapshot={shown} isCurrent={shown.id === data.current} />
          </div>
        )}
      </Section>
      <Schedules vmId={vm.id} snapshots={items} />
      {isTaking && data && <TakeDialog vmId={vm.id} vmName={vm.name} list={data} onClose={() => setTaking(false)} />}
    </Page>
  )
}
