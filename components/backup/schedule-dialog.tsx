'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import type { BackupSchedule } from '#lib/schema/backup.ts'
import { DEFAULT_OPTIONS, OptionFields, type Target } from './make-dialog.tsx'
import { PRESETS, presetOf } from './schedule-presets.ts'

type Preset = keyof typeof PRESETS | 'own'
const RULES = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const

/** A new schedule, or (given one) what can be changed of it. */
export function ScheduleDialog({
  vm,
  schedule,
  targets,
  onClose,
}: {
  readonly vm: { readonly id: string; readonly name: string }
  readonly schedule?: BackupSchedule
  readonly targets: readonly Target[]
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [preset, setPreset] = useState<Preset>(schedule ? (presetOf(schedule.cron) ?? 'own') : 'nightly')
  const [own, setOwn] = useState<string>(schedule?.cron ?? PRESETS.nightly)
  const [zone, setZone] = useState(() => schedule?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone)
  const [retention, setRetention] = useState(
    schedule?.retention ?? { last: 3, hourly: 0, daily: 7, weekly: 4, monthly: 0, yearly: 0 },
  )
  const [options, setOptions] = useState(schedule?.options ?? DEFAULT_OPTIONS)
  const create = useOperation('backupScheduleCreate', { onSuccess: onClose })
  const update = useOperation('backupScheduleUpdate', { onSuccess: onClose })
  const { error, isPending } = schedule ? update : create
  return (
    <Dialog
      title={t('scheduleDialog.title', { name: vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="backup-schedule" variant="primary" pending={isPending}>
            {t('scheduleDialog.submit')}
          </Button>
        </>
      }
    >
      <form
        id="backup-schedule"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          const cron = preset === 'own' ? own.trim() : PRESETS[preset]
          const body = { cron, timeZone: zone.trim(), retention, options }
          if (schedule) update.mutate({ input: { params: { id: schedule.id }, body }, ifMatch: schedule.revision })
          else create.mutate({ input: { params: { id: vm.id }, body: { ...body, paused: false } } })
        }}
      >
        {error && error.field !== 'cron' && error.field !== 'timeZone' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <Select
            label={t('scheduleDialog.when')}
            options={(['nightly', 'hourly', 'weekly', 'own'] as const).map((value) => ({
              value,
              label: t(`scheduleDialog.presets.${value}`),
            }))}
            value={preset}
            onChange={(event) => {
              const value = event.target.value
              setPreset(value === 'nightly' || value === 'hourly' || value === 'weekly' ? value : 'own')
            }}
          />
          <TextField
            label={t('scheduleDialog.zone')}
            required
            spellCheck={false}
            value={zone}
            onChange={(event) => setZone(event.target.value)}
            error={error?.field === 'timeZone' ? error.message : undefined}
          />
        </div>
        {preset === 'own' && (
          <TextField
            label={t('scheduleDialog.cron')}
            hint={t('scheduleDialog.cronHint')}
            mono
            required
            spellCheck={false}
            value={own}
            onChange={(event) => setOwn(event.target.value)}
            error={error?.field === 'cron' ? error.message : undefined}
          />
        )}
        <fieldset>
          <legend className="mb-1 font-medium text-dim text-sm">{t('scheduleDialog.retention')}</legend>
          <div className="grid grid-cols-3 gap-2 sm:grid-cols-6">
            {RULES.map((rule) => (
              <NumberField
                key={rule}
                label={t(`schedules.rules.${rule}`, { count: '' }).trim()}
                min={0}
                max={rule === 'yearly' ? 20 : 100}
                value={retention[rule]}
                onValue={(value) => setRetention({ ...retention, [rule]: value ?? 0 })}
              />
            ))}
          </div>
        </fieldset>
        <OptionFields targets={targets} value={options} onValue={setOptions} />
      </form>
    </Dialog>
  )
}
