'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField, Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import type { BackupOptions } from '#lib/schema/backup.ts'

export interface Target {
  readonly id: string
  readonly name: string
}

export const DEFAULT_OPTIONS: BackupOptions = {
  mode: 'auto',
  compression: 'zstd',
  freeze: true,
  limitMiBps: null,
  fullEvery: 14,
}

/** What is asked of a backup, whether made now or by a schedule. */
export function OptionFields({
  targets,
  value,
  onValue,
}: {
  readonly targets: readonly Target[]
  readonly value: BackupOptions
  readonly onValue: (value: BackupOptions) => void
}) {
  const t = useT(messages)
  return (
    <>
      <div className="grid gap-4 sm:grid-cols-2">
        <Select
          label={t('makeDialog.target')}
          options={targets.map(({ id, name }) => ({ value: id, label: name }))}
          value={value.pool ?? targets[0]?.id ?? ''}
          onChange={(event) => onValue({ ...value, pool: event.target.value })}
        />
        <Select
          label={t('makeDialog.mode')}
          options={[
            { value: 'auto', label: t('makeDialog.auto') },
            { value: 'full', label: t('makeDialog.full') },
          ]}
          value={value.mode}
          onChange={(event) => onValue({ ...value, mode: event.target.value === 'full' ? 'full' : 'auto' })}
        />
      </div>
      <Checkbox
        label={t('makeDialog.compress')}
        hint={t('makeDialog.compressHint')}
        checked={value.compression === 'zstd'}
        onChange={(event) => onValue({ ...value, compression: event.target.checked ? 'zstd' : 'none' })}
      />
      <Checkbox
        label={t('makeDialog.freeze')}
        hint={t('makeDialog.freezeHint')}
        checked={value.freeze}
        onChange={(event) => onValue({ ...value, freeze: event.target.checked })}
      />
      <NumberField
        label={t('makeDialog.limit')}
        hint={t('makeDialog.limitHint')}
        unit="MiB/s"
        min={1}
        max={100_000}
        value={value.limitMiBps}
        onValue={(limitMiBps) => onValue({ ...value, limitMiBps })}
        className="max-w-48"
      />
    </>
  )
}

export function MakeDialog({
  vm,
  targets,
  onClose,
}: {
  readonly vm: { readonly id: string; readonly name: string }
  readonly targets: readonly Target[]
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [options, setOptions] = useState(DEFAULT_OPTIONS)
  const make = useOperation('backupCreate', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('makeDialog.started', { name: vm.name }) })
      onClose()
    },
  })
  return (
    <Dialog
      title={t('makeDialog.title', { name: vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={make.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="backup-make" variant="primary" pending={make.isPending}>
            {t('makeDialog.submit')}
          </Button>
        </>
      }
    >
      <form
        id="backup-make"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          make.mutate({ input: { params: { id: vm.id }, body: options } })
        }}
      >
        {make.error && (
          <div role="alert">
            <Banner tone="error">{make.error.message}</Banner>
          </div>
        )}
        <OptionFields targets={targets} value={options} onValue={setOptions} />
      </form>
    </Dialog>
  )
}
