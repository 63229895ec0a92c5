'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { cronOf, dailyTimeOf, WEEKDAYS } from '#lib/lab/daily-time.ts'
import type { PowerSchedule } from '#lib/schema/lab.ts'

const DAYS = [1, 2, 3, 4, 5, 6, 0] as const
const FORCE = [5, 10, 30, 60] as const
const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'UTC'

/** New times for a VM or a tag, on and off at once; or one that exists. */
export function PowerDialog({
  vm,
  schedule,
  onClose,
}: {
  /** Of the page it was opened from. */
  readonly vm: { readonly id: string; readonly name: string } | null
  readonly schedule: PowerSchedule | null
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const locale = useLocale()
  const { data: vms } = useQuery({ ...queries.vmList(), enabled: vm === null && schedule === null })
  const known = schedule === null ? { time: '09:00', days: WEEKDAYS } : dailyTimeOf(schedule.cron)
  const [kind, setKind] = useState<'vm' | 'tag'>(vm === null ? 'tag' : 'vm')
  const [vmId, setVmId] = useState(vm?.id ?? '')
  const [tag, setTag] = useState('')
  const [hasOn, setOn] = useState(schedule === null || schedule.action === 'on')
  const [hasOff, setOff] = useState(schedule === null || schedule.action === 'off')
  const [onTime, setOnTime] = useState(known?.time ?? '09:00')
  const [offTime, setOffTime] = useState(schedule?.action === 'off' ? (known?.time ?? '19:00') : '19:00')
  const [days, setDays] = useState<readonly number[]>(known?.days ?? WEEKDAYS)
  const [cron, setCron] = useState(schedule?.cron ?? '')
  const [zone, setZone] = useState(schedule?.timeZone ?? ownZone())
  const [force, setForce] = useState(schedule === null ? '10' : String(schedule.offAfterMinutes ?? ''))
  const [isTried, setTried] = useState(false)
  const create = useOperation('powerScheduleCreate')
  const update = useOperation('powerScheduleUpdate', { onSuccess: onClose })
  const pending = create.isPending || update.isPending
  const error = create.error ?? update.error
  const isPattern = schedule !== null && known === null
  const action = schedule?.action ?? (hasOn ? 'on' : 'off')
  const cronFor = (which: 'on' | 'off') =>
    isPattern ? cron.trim() : cronOf({ time: which === 'on' ? onTime : offTime, days })
  const { data: preview } = useQuery({
    ...queries.schedulePreview({ cron: cronFor(action), timeZone: zone }),
    enabled: zone !== '' && cronFor(action).length >= 9,
  })
  const problem = (field: 'cron' | 'timeZone') =>
    error?.field === field ? error.message : preview?.field === field ? (preview.problem ?? undefined) : undefined
  const hasTarget = schedule !== null || (kind === 'vm' ? vmId !== '' : tag.trim() !== '')
  const hasTime = isPattern || (days.length > 0 && (hasOn || hasOff))
  const offAfterMinutes = force === '' ? null : Number(force)

  const save = async () => {
    setTried(true)
    if (!hasTarget || !hasTime) return
    if (schedule !== null) {
      update.mutate({
        input: {
          params: { id: schedule.id },
          body: { cron: cronFor(schedule.action), timeZone: zone, offAfterMinutes },
        },
        ifMatch: schedule.revision,
      })
      return
    }
    // The server checks the id; the list it was chosen from came from there.
    const target =
      kind === 'vm' ? ({ type: 'vm', id: vmId as never } as const) : ({ type: 'tag', id: tag.trim() } as const)
    try {
      for (const which of ['on', 'off'] as const)
        if (which === 'on' ? hasOn : hasOff)
          await create.mutateAsync({
            input: { body: { target, action: which, cron: cronFor(which), timeZone: zone, offAfterMinutes } },
          })
      onClose()
    } catch {
      // Shown above the form.
    }
  }

  return (
    <Dialog
      title={t('power.dialog')}
      closeLabel={t('close')}
      onClose={onClose}
      width="md"
      locked={pending}
      footer={
        <>
          <Button onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" form="power-form" variant="primary" pending={pending}>
            {t('save')}
          </Button>
        </>
      }
    >
      <form
        id="power-form"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        {error && error.field !== 'cron' && error.field !== 'timeZone' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        {schedule === null && (
          <div className="grid gap-4 sm:grid-cols-2">
            <Select
              label={t('power.target')}
              value={kind}
              onChange={(event) => setKind(event.target.value === 'vm' ? 'vm' : 'tag')}
              options={[
                { value: 'vm', label: vm === null ? t('power.targetVm') : vm.name },
                { value: 'tag', label: t('power.targetTag') },
              ]}
            />
            {kind === 'tag' && (
              <TextField
                label={t('power.tagField')}
                value={tag}
                onChange={(event) => setTag(event.target.value)}
                error={isTried && !hasTarget ? t('power.needTarget') : undefined}
              />
            )}
            {kind === 'vm' && vm === null && (
              <Select
                label={t('power.vm')}
                value={vmId}
                onChange={(event) => setVmId(event.target.value)}
                options={[
                  { value: '', label: t('power.chooseVm') },
                  ...(vms?.items ?? []).map(({ id, name }) => ({ value: id, label: name })),
                ]}
                error={isTried && !hasTarget ? t('power.needTarget') : undefined}
              />
            )}
          </div>
        )}
        {isPattern ? (
          <TextField
            label={t('power.cron')}
            hint={t('power.cronHint')}
            mono
            spellCheck={false}
            value={cron}
            onChange={(event) => setCron(event.target.value)}
            error={problem('cron')}
          />
        ) : (
          <>
            <div className="grid gap-4 sm:grid-cols-2">
              {(schedule === null || schedule.action === 'on') && (
                <div className="flex flex-col gap-2">
                  {schedule === null && (
                    <Checkbox label={t('power.on')} checked={hasOn} onChange={(event) => setOn(event.target.checked)} />
                  )}
                  <TextField
                    type="time"
                    label={t('power.onTime')}
                    value={onTime}
                    onChange={(event) => setOnTime(event.target.value)}
                  />
                </div>
              )}
              {(schedule === null || schedule.action === 'off') && (
                <div className="flex flex-col gap-2">
                  {schedule === null && (
                    <Checkbox
                      label={t('power.off')}
                      checked={hasOff}
                      onChange={(event) => setOff(event.target.checked)}
                    />
                  )}
                  <TextField
                    type="time"
                    label={t('power.offTime')}
                    value={offTime}
                    onChange={(event) => setOffTime(event.target.value)}
                  />
                </div>
              )}
            </div>
            <fieldset className="min-w-0">
              <legend className="mb-1 font-medium text-dim text-sm">{t('power.days')}</legend>
              <div className="flex flex-wrap gap-x-4 gap-y-2">
                {DAYS.map((day) => (
                  <Checkbox
                    key={day}
                    label={t(`power.day.d${day}`)}
                    checked={days.includes(day)}
                    onChange={(event) =>
                      setDays((was) => (event.target.checked ? [...was, day] : was.filter((one) => one !== day)))
                    }
                  />
                ))}
              </div>
              {isTried && !hasTime && (
                <p role="alert" className="text-crashed text-sm">
                  {t('power.needOne')}
                </p>
              )}
            </fieldset>
          </>
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <TextField
            label={t('power.zone')}
            value={zone}
            spellCheck={false}
            onChange={(event) => setZone(event.target.value)}
            error={problem('timeZone')}
          />
          {hasOff && (
            <Select
              label={t('power.force')}
              value={force}
              onChange={(event) => setForce(event.target.value)}
              options={[
                { value: '', label: t('power.forceNever') },
                ...[...new Set([...FORCE, ...(offAfterMinutes === null ? [] : [offAfterMinutes])])].map((minutes) => ({
                  value: String(minutes),
                  label: t('power.forceAfter', { minutes }),
                })),
              ]}
            />
          )}
        </div>
        {preview && preview.next.length > 0 && (
          <p className="text-dim text-sm" aria-live="polite">
            {t('power.preview', {
              dates: preview.next
                .slice(0, 3)
                .map((at) => formatAbsolute(at, locale))
                .join(' · '),
            })}
          </p>
        )}
      </form>
    </Dialog>
  )
}
