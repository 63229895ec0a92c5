'use client'
import { useQuery } from '@tanstack/react-query'
import { EllipsisVertical } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { useMayOnVm } from '#components/access/use-may-vm.ts'
import { Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import { paths } from '#lib/paths.ts'
import type { BackupSchedule } from '#lib/schema/backup.ts'
import type { Target } from './make-dialog.tsx'
import { presetOf } from './schedule-presets.ts'

const ScheduleDialog = dynamic(() => import('./schedule-dialog.tsx').then((m) => m.ScheduleDialog), { ssr: false })

const RULES = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const

export function ScheduleList({
  items,
  targets,
  showVm,
}: {
  readonly items: readonly BackupSchedule[]
  readonly targets: readonly Target[]
  readonly showVm: boolean
}) {
  return (
    <ul className="-mt-3 flex flex-col">
      {items.map((schedule) => (
        <ScheduleLine key={schedule.id} schedule={schedule} targets={targets} showVm={showVm} />
      ))}
    </ul>
  )
}

function ScheduleLine({
  schedule,
  targets,
  showVm,
}: {
  readonly schedule: BackupSchedule
  readonly targets: readonly Target[]
  readonly showVm: boolean
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const mayNot = useMayOnVm(schedule.vm.id, 'vm.backup') ? null : tApp('mayLook')
  const forecast = useQuery(queries.backupScheduleForecast(schedule.id)).data?.items ?? []
  const onError = (error: Parameters<typeof toastError>[0]) => toastError(error, t('schedules.title'))
  const update = useOperation('backupScheduleUpdate', { onError })
  const run = useOperation('backupScheduleRun', { onError })
  const remove = useOperation('backupScheduleDelete')
  const params = { id: schedule.id }
  const { lastRun } = schedule
  const [isChanging, setChanging] = useState(false)
  const preset = presetOf(schedule.cron)
  const rules = RULES.filter((rule) => schedule.retention[rule] > 0).map((rule) =>
    t(`schedules.rules.${rule}`, { count: String(schedule.retention[rule]) }),
  )
  const failed = lastRun !== null && (lastRun.result === 'failed' || lastRun.result === 'interrupted')
  return (
    <li className="flex items-start gap-3 border-line border-b py-2">
      <div className="min-w-0 flex-1">
        <p className="flex flex-wrap items-baseline gap-x-3">
          {showVm && <Link href={paths.vmBackups(schedule.vm.id)}>{schedule.vm.name}</Link>}
          {preset ? (
            <span className="font-medium">{t(`scheduleDialog.presets.${preset}`)}</span>
          ) : (
            <code className="font-mono">{schedule.cron}</code>
          )}
          <span className="text-faint text-sm">{schedule.timeZone}</span>
          <span className="text-sm">
            {schedule.paused || schedule.nextAt === null
              ? t('schedules.paused')
              : t.rich('schedules.next', { time: () => <Time at={schedule.nextAt ?? ''} /> })}
          </span>
        </p>
        <p className="text-dim text-sm">
          {t('schedules.keeps', { rules: rules.join(', ') })}
          {forecast.length > 0 && (
            <>
              {' · '}
              {t('schedules.forecast', {
                kept: forecast.filter(({ keep }) => keep).length,
                gone: forecast.filter(({ keep }) => !keep).length,
              })}
            </>
          )}
        </p>
        {lastRun !== null && (
          <p className="flex items-start gap-1.5 text-dim text-sm">
            <MarkIcon mark={failed ? 'crashed' : 'running'} className="mt-1 size-2.5" />
            <span>
              {t.rich(
                'schedules.last',
                { time: () => <Time at={lastRun.endedAt ?? lastRun.startedAt} /> },
                { message: lastRun.message },
              )}
            </span>
          </p>
        )}
      </div>
      <Menu
        disabledReason={mayNot}
        label={t('schedules.actions', { cron: schedule.cron })}
        iconOnly
        variant="quiet"
        size="sm"
        items={[
          { id: 'run', label: t('schedules.run'), onSelect: () => run.mutate({ input: { params } }) },
          {
            id: 'pause',
            label: schedule.paused ? t('schedules.resume') : t('schedules.pause'),
            onSelect: () =>
              update.mutate({ input: { params, body: { paused: !schedule.paused } }, ifMatch: schedule.revision }),
          },
          { id: 'change', label: t('schedules.change'), onSelect: () => setChanging(true) },
          { kind: 'separator', id: 'line' },
          {
            id: 'remove',
            label: t('schedules.remove'),
            danger: true,
            onSelect: () =>
              askToConfirm({
                title: t('schedules.removeTitle'),
                stays: [t('schedules.removeStays')],
                confirmLabel: t('deleteNow'),
                danger: true,
                run: () => remove.mutateAsync({ input: { params }, ifMatch: schedule.revision }),
              }),
          },
        ]}
      >
        <EllipsisVertical size={16} aria-hidden="true" />
      </Menu>
      {isChanging && (
        <ScheduleDialog vm={schedule.vm} schedule={schedule} targets={targets} onClose={() => setChanging(false)} />
      )}
    </li>
  )
}
