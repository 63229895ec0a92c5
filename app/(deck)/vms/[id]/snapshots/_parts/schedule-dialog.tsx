'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import { type RetentionRule, retain } from '#lib/schedules/retention.ts'
import type { Snapshot, SnapshotScheduleView } from '#lib/schema/snapshot.ts'

export const RULES: readonly RetentionRule[] = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']
const PRESETS = { hourly: '0 * * * *', daily: '0 3 * * *', weekly: '0 4 * * 0' } as const
export const presetOf = (cron: string) =>
  // Object.keys knows no literal types.
  (Object.keys(PRESETS) as (keyof typeof PRESETS)[]).find((key) => PRESETS[key] === cron)
const NEW_RETENTION = { last: 0, hourly: 0, daily: 7, weekly: 4, monthly: 0, yearly: 0 }

/** When, and how much of the past is kept, with what that means now. */
export function ScheduleDialog({
  vmId,
  schedule,
  snapshots,
  onClose,
}: {
  readonly vmId: string
  readonly schedule: SnapshotScheduleView | null
  readonly snapshots: readonly Snapshot[]
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [cron, setCron] = useState(schedule?.cron ?? PRESETS.daily)
  const [timeZone, setTimeZone] = useState(
    schedule?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'UTC',
  )
  const [retention, setRetention] = useState(schedule?.retention ?? NEW_RETENTION)
  const preset = presetOf(cron) ?? 'custom'
  const isReadable = cron.trim().length >= 9 && timeZone !== ''
  const { data: preview } = useQuery({
    ...queries.schedulePreview({ cron: cron.trim(), timeZone }),
    enabled: isReadable,
  })
  const create = useOperation('snapshotScheduleCreate', { onSuccess: onClose })
  const update = useOperation('snapshotScheduleUpdate', { onSuccess: onClose })
  const pending = create.isPending || update.isPending
  const error = create.error ?? update.error
  const problem = (field: 'cron' | 'timeZone') =>
    error?.field === field ? error.message : preview?.field === field ? (preview.problem ?? undefined) : undefined
  const mine = snapshots
    .filter(({ scheduleId, state }) => schedule !== null && scheduleId === schedule.id && state === 'complete')
    .map(({ id, createdAt }) => ({ id, atMs: Date.parse(createdAt) }))
  const kept = retain(mine, retention, timeZone).size
  return (
    <Dialog
      title={t('schedules.dialog')}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={pending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="snapshot-schedule" variant="primary" pending={pending}>
            {t('schedules.save')}
          </Button>
        </>
      }
    >
      <form
        id="snapshot-schedule"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          const body = { cron: cron.trim(), timeZone, retention }
          if (schedule === null) create.mutate({ input: { params: { id: vmId }, body } })
          else
            update.mutate({
              input: { params: { id: vmId, scheduleId: schedule.id }, body },
              ifMatch: schedule.revision,
            })
        }}
      >
        {error && error.field !== 'cron' && error.field !== 'timeZone' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <Select
            label={t('schedules.preset')}
            value={preset}
            onChange={(event) => {
              const chosen = event.target.value
              if (chosen in PRESETS) setCron(PRESETS[chosen as keyof typeof PRESETS])
            }}
            options={(['hourly', 'daily', 'weekly', 'custom'] as const).map((value) => ({
              value,
              label: t(`schedules.presets.${value}`),
            }))}
          />
          <TextField
            label={t('schedules.zone')}
            value={timeZone}
            spellCheck={false}
            onChange={(event) => setTimeZone(event.target.value)}
            error={problem('timeZone')}
          />
        </div>
        <TextField
          label={t('schedules.cron')}
          hint={t('schedules.cronHint')}
          mono
          spellCheck={false}
          autoComplete="off"
          value={cron}
          onChange={(event) => setCron(event.target.value)}
          error={problem('cron')}
        />
        {preview && preview.next.length > 0 && (
          <p className="text-dim text-sm" aria-live="polite">
            {t('schedules.preview')}:{' '}
            {preview.next.slice(0, 3).map((at, index) => (
              <span key={at}>
                {index > 0 && ', '}
                <Time at={at} />
              </span>
            ))}
          </p>
        )}
        <fieldset className="min-w-0">
          <legend className="mb-1 font-medium text-dim text-sm">{t('schedules.retention')}</legend>
          <div className="grid grid-cols-2 gap-3 sm:grid-cols-3">
            {RULES.map((rule) => (
              <NumberField
                key={rule}
                label={t(`schedules.rule.${rule}`)}
                min={0}
                value={retention[rule]}
                onValue={(value) => setRetention((was) => ({ ...was, [rule]: value ?? 0 }))}
              />
            ))}
          </div>
        </fieldset>
        <p className="text-faint text-sm">
          {mine.length > 0 && `${t('schedules.wouldKeep', { all: mine.length, kept })} `}
          {t('schedules.byHand')}
        </p>
      </form>
    </Dialog>
  )
}
