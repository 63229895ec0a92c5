'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { useMayOnVm } from '#components/access/use-may-vm.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner, EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import { BackupJobs } from './backup-jobs.tsx'
import { BackupTable } from './backup-table.tsx'
import { ScheduleList } from './schedule-list.tsx'

const MakeDialog = dynamic(() => import('./make-dialog.tsx').then((m) => m.MakeDialog), { ssr: false })
const ScheduleDialog = dynamic(() => import('./schedule-dialog.tsx').then((m) => m.ScheduleDialog), { ssr: false })

/** Backups and schedules of one VM, or of all. */
export function BackupsView({ vm }: { readonly vm: { readonly id: string; readonly name: string } | null }) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.backupList(vm?.id))
  const schedules = useQuery(queries.backupScheduleList(vm?.id))
  const mayNot = useMayOnVm(vm?.id ?? null, 'vm.backup') ? null : tApp('mayLook')
  const [asking, setAsking] = useState<'make' | 'schedule' | null>(null)
  const targets = data?.targets ?? []
  return (
    <>
      {data?.concerns.map((concern) => (
        <Banner key={`${concern.vm.id} ${concern.kind}`} tone="attention">
          {vm === null && <span className="font-medium">{concern.vm.name}: </span>}
          {t(`concern.${concern.kind}`, { message: concern.message })}
        </Banner>
      ))}
      <Section
        title={t('list')}
        note={data && <span className="figures">{data.items.length}</span>}
        actions={
          vm !== null && (
            <Button variant="primary" size="sm" disabledReason={mayNot} onClick={() => setAsking('make')}>
              {t('make')}
            </Button>
          )
        }
      >
        <BackupJobs vmId={vm?.id ?? null} items={data?.items ?? []} />
        {error && !data ? (
          <LoadError error={error} onRetry={() => void refetch()} />
        ) : data?.items.length === 0 ? (
          <EmptyState title={t(vm === null ? 'emptyAll.title' : 'empty.title')}>
            {t(vm === null ? 'emptyAll.body' : 'empty.body')}
          </EmptyState>
        ) : data ? (
          <BackupTable items={data.items} showVm={vm === null} />
        ) : (
          <div className="-mt-3 flex flex-col">
            {[0, 1, 2].map((line) => (
              <div key={line} className="flex h-13 items-center border-line border-b">
                <Skeleton className="h-4 w-1/2" />
              </div>
            ))}
          </div>
        )}
      </Section>
      <Section
        title={t('schedules.title')}
        note={schedules.data && <span className="figures">{schedules.data.items.length}</span>}
        actions={
          vm !== null && (
            <Button size="sm" disabledReason={mayNot} onClick={() => setAsking('schedule')}>
              {t('schedules.add')}
            </Button>
          )
        }
      >
        {schedules.error && !schedules.data ? (
          <LoadError error={schedules.error} onRetry={() => void schedules.refetch()} />
        ) : schedules.data?.items.length === 0 ? (
          <p className="text-dim">{t('schedules.none')}</p>
        ) : schedules.data ? (
          <ScheduleList items={schedules.data.items} targets={targets} showVm={vm === null} />
        ) : (
          <Skeleton className="h-10 w-full" />
        )}
      </Section>
      {vm === null && data !== undefined && data.broken.length > 0 && (
        <Section title={t('broken.title')} note={t('broken.note')}>
          <ul className="-mt-3">
            {data.broken.map(({ pool, folder, reason }) => (
              <li key={`${pool.id} ${folder}`} className="border-line border-b py-2">
                <code className="break-all font-mono text-sm">{folder}</code>
                <span className="text-dim text-sm">
                  {' '}
                  ({pool.name}) {reason}
                </span>
              </li>
            ))}
          </ul>
        </Section>
      )}
      {vm !== null && asking === 'make' && <MakeDialog vm={vm} targets={targets} onClose={() => setAsking(null)} />}
      {vm !== null && asking === 'schedule' && (
        <ScheduleDialog vm={vm} targets={targets} onClose={() => setAsking(null)} />
      )}
    </>
  )
}
