'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { recordingMessages } from '#lib/i18n/messages/en/recordings.ts'
import type { RecordingSettings } from '#lib/schema/recording.ts'

/** Limits of the host, and what it records of every VM. For administrators. */
export function RecordingSettingsDialog({ onClose }: { readonly onClose: () => void }) {
  const t = useT(recordingMessages)
  const tApp = useT(app)
  const { data, error } = useQuery(queries.recordingSettings())
  return (
    <Dialog title={t('settings.title')} closeLabel={tApp('close')} onClose={onClose} footer={null}>
      {data ? (
        <SettingsForm settings={data} onClose={onClose} />
      ) : error ? (
        <Banner tone="error">{error.message}</Banner>
      ) : (
        <Skeleton className="h-40 w-full" />
      )}
    </Dialog>
  )
}

const NUMBERS = ['maxMinutes', 'maxMiB', 'vmMaxMiB', 'keepDays'] as const
type NumberName = (typeof NUMBERS)[number]

function SettingsForm({ settings, onClose }: { readonly settings: RecordingSettings; readonly onClose: () => void }) {
  const t = useT(recordingMessages)
  const tApp = useT(app)
  const [texts, setTexts] = useState<Record<NumberName, string>>({
    maxMinutes: String(settings.maxMinutes),
    maxMiB: String(settings.maxMiB),
    vmMaxMiB: String(settings.vmMaxMiB),
    keepDays: settings.keepDays === null ? '' : String(settings.keepDays),
  })
  const [always, setAlways] = useState(settings.always)
  const save = useOperation('recordingSettingsUpdate', { onSuccess: onClose, onError: () => {} })
  const isWrong = (name: NumberName) =>
    !/^\d{1,7}$/.test(texts[name].trim()) && !(name === 'keepDays' && texts[name].trim() === '')
  const errorOf = (name: NumberName) =>
    isWrong(name) ? t('settings.number') : save.error?.field === name ? save.error.message : undefined
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        if (NUMBERS.some(isWrong)) return
        const { maxMinutes, maxMiB, vmMaxMiB, keepDays } = texts
        save.mutate({
          input: {
            body: {
              ...{ maxMinutes: Number(maxMinutes), maxMiB: Number(maxMiB), vmMaxMiB: Number(vmMaxMiB), always },
              keepDays: keepDays.trim() === '' ? null : Number(keepDays),
            },
          },
        })
      }}
    >
      <div className="grid gap-4 sm:grid-cols-2">
        {NUMBERS.map((name) => (
          <TextField
            key={name}
            label={t(`settings.${name}`)}
            inputMode="numeric"
            hint={name === 'keepDays' ? t('settings.keepHint') : undefined}
            value={texts[name]}
            error={errorOf(name)}
            onChange={(event) => setTexts({ ...texts, [name]: event.target.value })}
          />
        ))}
      </div>
      <fieldset className="flex flex-col gap-2">
        <legend className="mb-1 font-medium text-dim text-sm">{t('settings.always')}</legend>
        {(['vnc', 'serial'] as const).map((kind) => (
          <Checkbox
            key={kind}
            label={t(`settings.${kind}`)}
            checked={always[kind]}
            onChange={(event) => setAlways({ ...always, [kind]: event.target.checked })}
          />
        ))}
      </fieldset>
      {save.error && !NUMBERS.some((name) => save.error?.field === name) && (
        <Banner tone="error">{save.error.message}</Banner>
      )}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>{tApp('cancel')}</Button>
        <Button type="submit" variant="primary" pending={save.isPending}>
          {t('settings.save')}
        </Button>
      </div>
    </form>
  )
}
