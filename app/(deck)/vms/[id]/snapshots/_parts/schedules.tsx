'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import type { Snapshot, SnapshotScheduleView } from '#lib/schema/snapshot.ts'
import { presetOf, RULES, ScheduleDialog } from './schedule-dialog.tsx'

/** What takes snapshots by itself, when next, how it went last, and what it keeps. */
export function Schedules({ vmId, snapshots }: { readonly vmId: string; readonly snapshots: readonly Snapshot[] }) {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.snapshotSchedules(vmId))
  const mayNot = useMayNotVm(useVm(), 'vm.snapshot')
  const [edited, setEdited] = useState<SnapshotScheduleView | 'new' | null>(null)
  return (
    <Section
      title={t('schedules.title')}
      actions={
        <Button disabledReason={mayNot} onClick={() => setEdited('new')}>
          {t('schedules.add')}
        </Button>
      }
    >
      {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
      {data === undefined && !error && <Skeleton className="h-10 w-full" />}
      {data?.items.length === 0 && <p className="text-faint">{t('schedules.none')}</p>}
      {data !== undefined && data.items.length > 0 && (
        <ul className="flex flex-col">
          {data.items.map((schedule) => (
            <Line key={schedule.id} vmId={vmId} schedule={schedule} onEdit={() => setEdited(schedule)} />
          ))}
        </ul>
      )}
      {edited !== null && (
        <ScheduleDialog
          vmId={vmId}
          schedule={edited === 'new' ? null : edited}
          snapshots={snapshots}
          onClose={() => setEdited(null)}
        />
      )}
    </Section>
  )
}

function Line({
  vmId,
  schedule,
  onEdit,
}: {
  readonly vmId: string
  readonly schedule: SnapshotScheduleView
  readonly onEdit: () => void
}) {
  const t = useT(messages)
  const mayNot = useMayNotVm(useVm(), 'vm.snapshot')
  const params = { id: vmId, scheduleId: schedule.id }
  const update = useOperation('snapshotScheduleUpdate', {
    onError: (cause) => toastError(cause, t(schedule.paused ? 'schedules.resume' : 'schedules.pause')),
  })
  const run = useOperation('snapshotScheduleRun', { onError: (cause) => toastError(cause, t('schedules.run')) })
  const { mutateAsync: remove } = useOperation('snapshotScheduleDelete')
  const { lastRun } = schedule
  const preset = presetOf(schedule.cron)
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 border-line border-b py-2">
      <div className="min-w-0 flex-1 basis-64">
        <p>
          {preset ? (
            <span className="font-medium">{t(`schedules.presets.${preset}`)}</span>
          ) : (
            <span className="font-medium font-mono">{schedule.cron}</span>
          )}{' '}
          <span className="text-faint">{schedule.timeZone}</span>
        </p>
        <p className="text-dim text-sm">
          {t('schedules.keeps')}{' '}
          {RULES.filter((rule) => schedule.retention[rule] > 0)
            .map((rule) => t(`schedules.ruleShort.${rule}`, { count: schedule.retention[rule] }))
            .join(', ')}
        </p>
      </div>
      <div className="basis-40 text-sm">
        <p className="text-dim">
          {t('schedules.next')}: {schedule.nextAt === null ? t('schedules.paused') : <Time at={schedule.nextAt} />}
        </p>
        <p className={lastRun?.result === 'failed' ? 'text-crashed' : 'text-dim'}>
          {t('schedules.last')}:{' '}
          {lastRun === null ? (
            t('schedules.never')
          ) : (
            <>
              {t(`schedules.result.${lastRun.result}`)} <Time at={lastRun.startedAt} />
            </>
          )}
        </p>
      </div>
      {lastRun !== null && lastRun.result !== 'ok' && <p className="basis-full text-dim text-sm">{lastRun.message}</p>}
      <div className="flex flex-wrap gap-2">
        <Button
          size="sm"
          disabledReason={mayNot}
          pending={run.isPending}
          onClick={() => run.mutate({ input: { params } })}
        >
          {t('schedules.run')}
        </Button>
        <Button
          size="sm"
          disabledReason={mayNot}
          pending={update.isPending}
          onClick={() =>
            update.mutate({ input: { params, body: { paused: !schedule.paused } }, ifMatch: schedule.revision })
          }
        >
          {t(schedule.paused ? 'schedules.resume' : 'schedules.pause')}
        </Button>
        <Button size="sm" disabledReason={mayNot} onClick={onEdit}>
          {t('schedules.edit')}
        </Button>
        <Button
          size="sm"
          variant="quiet"
          disabledReason={mayNot}
          onClick={() =>
            askToConfirm({
              title: t('schedules.removeTitle'),
              goes: [t('schedules.removeGoes', { cron: schedule.cron })],
              stays: [t('schedules.removeStays')],
              confirmLabel: t('schedules.remove'),
              danger: true,
              run: () => remove({ input: { params }, ifMatch: schedule.revision }),
            })
          }
        >
          {t('schedules.remove')}
        </Button>
      </div>
    </li>
  )
}
