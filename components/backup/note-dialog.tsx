'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import type { Backup } from '#lib/schema/backup.ts'

export function NoteDialog({ backup, onClose }: { readonly backup: Backup; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [note, setNote] = useState(backup.note)
  const save = useOperation('backupUpdate', { onSuccess: onClose })
  return (
    <Dialog
      title={t('noteDialog.title')}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={save.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="backup-note" variant="primary" pending={save.isPending}>
            {t('noteDialog.save')}
          </Button>
        </>
      }
    >
      <form
        id="backup-note"
        onSubmit={(event) => {
          event.preventDefault()
          save.mutate({ input: { params: { id: backup.id }, body: { note: note.trim() } } })
        }}
      >
        <TextField
          label={t('noteDialog.label')}
          maxLength={500}
          value={note}
          onChange={(event) => setNote(event.target.value)}
          error={save.error?.message}
        />
      </form>
    </Dialog>
  )
}
