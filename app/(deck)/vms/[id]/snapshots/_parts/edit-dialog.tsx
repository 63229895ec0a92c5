'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import type { Snapshot } from '#lib/schema/snapshot.ts'

export function EditDialog({ snapshot, onClose }: { readonly snapshot: Snapshot; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [name, setName] = useState<string>(snapshot.name)
  const [note, setNote] = useState(snapshot.note)
  const update = useOperation('snapshotUpdate', { onSuccess: onClose })
  const { error } = update
  const isName = error?.code === 'name_taken' || error?.field === 'name'
  return (
    <Dialog
      title={t('dialog.editTitle', { name: snapshot.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={update.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="edit-snapshot" variant="primary" pending={update.isPending}>
            {t('dialog.save')}
          </Button>
        </>
      }
    >
      <form
        id="edit-snapshot"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          update.mutate({
            input: { params: { id: snapshot.vmId, snapshotId: snapshot.id }, body: { name: name.trim(), note } },
            ifMatch: snapshot.revision,
          })
        }}
      >
        {error && !isName && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <TextField
          label={t('dialog.name')}
          autoComplete="off"
          spellCheck={false}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={isName ? error?.message : undefined}
        />
        <TextArea label={t('dialog.note')} rows={4} value={note} onChange={(event) => setNote(event.target.value)} />
      </form>
    </Dialog>
  )
}
