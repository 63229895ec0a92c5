'use client'
import { useQuery } from '@tanstack/react-query'
import { Ellipsis } from 'lucide-react'
import NextLink from 'next/link'
import { type ReactNode, useState } from 'react'
import { useMayOnVm } from '#components/access/use-may-vm.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { Section } from '#components/ui/page.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { dailyTimeOf } from '#lib/lab/daily-time.ts'
import { paths } from '#lib/paths.ts'
import type { PowerSchedule } from '#lib/schema/lab.ts'
import { PowerDialog } from './power-dialog.tsx'

/** When VMs are switched on and off: all that may be seen, or those of one VM, by its tags as well. */
export function PowerList({ vm = null }: { readonly vm?: { readonly id: string; readonly name: string } | null }) {
  const t = useT(messages)
  const may = useMayOnVm(vm?.id ?? null, 'vm.power')
  const { data, error, refetch } = useQuery(queries.powerSchedules(vm?.id))
  const [edited, setEdited] = useState<PowerSchedule | 'new' | null>(null)
  const add = (
    <Button disabledReason={may ? null : t('notAllowed')} onClick={() => setEdited('new')}>
      {t('power.add')}
    </Button>
  )
  return (
    <Section title={t('power.title')} actions={(vm !== null || (data?.items.length ?? 0) > 0) && add}>
      {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
      {data === undefined && !error && <Skeleton className="h-10 w-full" />}
      {data?.items.length === 0 &&
        (vm === null ? (
          <EmptyState title={t('power.none')} actions={add}>
            {t('power.noneBody')}
          </EmptyState>
        ) : (
          <p className="text-faint">{t('power.noneVm')}</p>
        ))}
      {data !== undefined && data.items.length > 0 && (
        <ul className="-mt-3 flex flex-col">
          {data.items.map((schedule) => (
            <Line key={schedule.id} schedule={schedule} may={may} onEdit={() => setEdited(schedule)} />
          ))}
        </ul>
      )}
      {edited !== null && (
        <PowerDialog vm={vm} schedule={edited === 'new' ? null : edited} onClose={() => setEdited(null)} />
      )}
    </Section>
  )
}

function Line({
  schedule,
  may,
  onEdit,
}: {
  readonly schedule: PowerSchedule
  readonly may: boolean
  readonly onEdit: () => void
}) {
  const t = useT(messages)
  const locale = useLocale()
  const params = { id: schedule.id }
  const onError = (cause: unknown) => void toastError(cause, t('power.failed'))
  const update = useOperation('powerScheduleUpdate', { onError })
  const skip = useOperation('powerScheduleSkip', { onError })
  const { mutateAsync: remove } = useOperation('powerScheduleDelete')
  const { action, cron, lastRun, nextAt, skippedAt, target } = schedule
  const daily = dailyTimeOf(cron)
  const when =
    daily === null ? t(`power.line.${action}Cron`, { cron }) : t(`power.line.${action}`, { time: daily.time })
  const days =
    daily === null || daily.days.length === 7
      ? t('power.everyDay')
      : [1, 2, 3, 4, 5, 6, 0]
          .filter((day) => daily.days.includes(day))
          // Days come from 0 to 6 alone.
          .map((day) => t(`power.dayShort.d${day as 0 | 1 | 2 | 3 | 4 | 5 | 6}`))
          .join(', ')
  const whom: ReactNode =
    target.type === 'tag' ? (
      <>
        <Badge>{t('power.tag', { tag: target.name })}</Badge>{' '}
        <span className="text-faint text-sm">{t('power.covers', { count: schedule.vms.length })}</span>
      </>
    ) : (
      <NextLink href={paths.vmLab(target.id)} prefetch={false} className="underline">
        {target.name}
      </NextLink>
    )
  const mayNot = may ? null : t('notAllowed')
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 border-line border-b py-3">
      <div className="min-w-0 flex-1 basis-60">
        <p className="flex flex-wrap items-center gap-2">
          <MarkIcon mark={action === 'on' ? 'running' : 'off'} />
          <span className="font-medium">{when}</span>
          <span className="text-dim text-sm">
            {daily !== null && `${days}, `}
            {schedule.timeZone}
          </span>
        </p>
        <div>{whom}</div>
      </div>
      <div className="basis-56 text-dim text-sm">
        <p>
          {t('power.next')}: {schedule.paused || nextAt === null ? t('power.paused') : <Time at={nextAt} />}
        </p>
        {skippedAt !== null && <p>{t('power.skipped', { date: formatAbsolute(skippedAt, locale) })}</p>}
        <p className={lastRun?.result === 'failed' ? 'text-crashed' : undefined}>
          {t('power.last')}:{' '}
          {lastRun === null ? (
            t('power.never')
          ) : (
            <>
              {t(`power.result.${lastRun.result}`)} <Time at={lastRun.startedAt} />
            </>
          )}
        </p>
      </div>
      <Menu
        label={t('power.actions', { name: `${when}, ${target.name}` })}
        iconOnly
        items={[
          {
            id: 'skip',
            label: t(skippedAt === null ? 'power.skip' : 'power.unskip'),
            disabledReason: mayNot ?? (schedule.paused ? t('power.paused') : null),
            onSelect: () => skip.mutate({ input: { params, body: { skip: skippedAt === null } } }),
          },
          {
            id: 'pause',
            label: t(schedule.paused ? 'power.resume' : 'power.pause'),
            disabledReason: mayNot,
            onSelect: () =>
              update.mutate({ input: { params, body: { paused: !schedule.paused } }, ifMatch: schedule.revision }),
          },
          { id: 'edit', label: t('power.edit'), disabledReason: mayNot, onSelect: onEdit },
          {
            id: 'remove',
            label: t('power.remove'),
            danger: true,
            disabledReason: mayNot,
            onSelect: () =>
              askToConfirm({
                title: t('power.removeTitle'),
                goes: [`${when}, ${target.name}`],
                stays: [t('power.removeStays')],
                confirmLabel: t('power.remove'),
                danger: true,
                run: () => remove({ input: { params }, ifMatch: schedule.revision }),
              }),
          },
        ]}
      >
        <Ellipsis size={16} aria-hidden="true" />
      </Menu>
      {lastRun !== null && (lastRun.result === 'failed' || lastRun.result === 'interrupted') && (
        <p className="basis-full text-dim text-sm">{lastRun.message}</p>
      )}
      {schedule.conflicts.map((conflict) => (
        <p key={conflict} className="basis-full text-attention text-sm">
          {conflict}
        </p>
      ))}
    </li>
  )
}
