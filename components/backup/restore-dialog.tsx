'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import type { Backup } from '#lib/schema/backup.ts'

type Way = 'new' | 'in-place'

export function RestoreDialog({ backup, onClose }: { readonly backup: Backup; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [way, setWay] = useState<Way>('new')
  const [name, setName] = useState(`${backup.vm.name.slice(0, 50)} restored`)
  const restore = useOperation('backupRestore', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('restoreDialog.started', { name: way === 'new' ? name : backup.vm.name }) })
      onClose()
    },
  })
  const { error } = restore
  return (
    <Dialog
      title={t('restoreDialog.title', { name: backup.vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={restore.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            type="submit"
            form="backup-restore"
            variant={way === 'new' ? 'primary' : 'danger'}
            pending={restore.isPending}
          >
            {t('restoreDialog.submit')}
          </Button>
        </>
      }
    >
      <form
        id="backup-restore"
        className="flex flex-col gap-4 text-start"
        onSubmit={(event) => {
          event.preventDefault()
          restore.mutate({
            input: {
              params: { id: backup.id },
              body: way === 'new' ? { as: 'new', name: name.trim() } : { as: 'in-place' },
            },
          })
        }}
      >
        {error && error.field !== 'name' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <RadioCards
          legend={t('restoreDialog.how')}
          name="restore-way"
          value={way}
          onValue={setWay}
          options={[
            { value: 'new', label: t('restoreDialog.asNew'), description: t('restoreDialog.asNewHint') },
            {
              value: 'in-place',
              label: t('restoreDialog.inPlace', { name: backup.vm.name }),
              description: t('restoreDialog.inPlaceHint'),
              disabledReason: backup.vm.exists ? null : t('restoreDialog.goneReason'),
            },
          ]}
        />
        {way === 'new' && (
          <TextField
            label={t('restoreDialog.name')}
            required
            maxLength={64}
            value={name}
            onChange={(event) => setName(event.target.value)}
            error={error?.field === 'name' ? error.message : undefined}
          />
        )}
      </form>
    </Dialog>
  )
}
