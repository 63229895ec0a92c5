'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import type { SnapshotKind, SnapshotList } from '#lib/schema/snapshot.ts'

export function TakeDialog({
  vmId,
  vmName,
  list,
  onClose,
}: {
  readonly vmId: string
  readonly vmName: string
  readonly list: SnapshotList
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [name, setName] = useState('')
  const [note, setNote] = useState('')
  const [kind, setKind] = useState<SnapshotKind>(
    list.kind ?? (list.create.memory.allowed || !list.create.disk.allowed ? 'memory' : 'disk'),
  )
  const create = useOperation('snapshotCreate', { onSuccess: onClose })
  const { error } = create
  const field = error?.code === 'name_taken' ? 'name' : error?.field
  return (
    <Dialog
      title={t('dialog.take', { vm: vmName })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={create.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="take-snapshot" variant="primary" pending={create.isPending}>
            {t('take')}
          </Button>
        </>
      }
    >
      <form
        id="take-snapshot"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          const wanted = name.trim()
          const body = { note, kind, ...(wanted !== '' && { name: wanted }) }
          create.mutate({ input: { params: { id: vmId }, body } })
        }}
      >
        {error && field !== 'name' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <TextField
          label={t('dialog.name')}
          hint={t('dialog.nameHint')}
          autoComplete="off"
          spellCheck={false}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={field === 'name' ? error?.message : undefined}
        />
        <TextArea label={t('dialog.note')} rows={2} value={note} onChange={(event) => setNote(event.target.value)} />
        <RadioCards
          legend={t('dialog.kind')}
          name="kind"
          value={kind}
          onValue={setKind}
          options={(['memory', 'disk'] as const).map((value) => ({
            value,
            label: t(`dialog.${value}Title`),
            description: t(`dialog.${value}`),
            disabledReason: list.create[value].reason,
          }))}
        />
      </form>
    </Dialog>
  )
}
