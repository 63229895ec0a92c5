'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { presenceMessages } from '#lib/i18n/messages/en/presence.ts'
import type { ConsoleViewer } from '#lib/schema/console.ts'
import type { VmId } from '#lib/schema/ids.ts'

export function EndViewerDialog({
  vmId,
  viewer,
  name,
  onClose,
}: {
  readonly vmId: VmId
  readonly viewer: ConsoleViewer
  /** As it is shown. */
  readonly name: string
  readonly onClose: () => void
}) {
  const t = useT(presenceMessages)
  const tApp = useT(app)
  const [reason, setReason] = useState('')
  const end = useOperation('vmViewerEnd', { onSuccess: onClose })
  return (
    <Dialog
      title={t('endTitle', { name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={end.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="end-viewer" variant="danger" pending={end.isPending}>
            {t('endNow')}
          </Button>
        </>
      }
    >
      <form
        id="end-viewer"
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          const said = reason.trim()
          const body = said === '' ? {} : { reason: said }
          end.mutate({ input: { params: { id: vmId, viewer: viewer.id }, body } })
        }}
      >
        {end.error && (
          <div role="alert">
            <Banner tone="error">{end.error.message}</Banner>
          </div>
        )}
        <p>{t(viewer.guest ? 'endGuest' : 'endBody')}</p>
        <TextField
          label={t('reason')}
          hint={t('reasonHint')}
          maxLength={100}
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
      </form>
    </Dialog>
  )
}
