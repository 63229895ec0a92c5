'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { type ApiError, toApiError } from '#lib/client/api-client.ts'
import { type ConfirmRequest, confirmation } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'

export function ConfirmDialog({ request }: { readonly request: ConfirmRequest }) {
  const t = useT(app)
  const [pending, setPending] = useState(false)
  const [error, setError] = useState<ApiError | null>(null)
  const close = () => confirmation.set(null)
  const run = async () => {
    setPending(true)
    setError(null)
    try {
      await request.run()
      close()
    } catch (cause) {
      setError(toApiError(cause))
      setPending(false)
    }
  }
  return (
    <Dialog
      title={request.title}
      closeLabel={t('close')}
      onClose={close}
      locked={pending}
      footer={
        <>
          <Button onClick={close}>{t('cancel')}</Button>
          <Button
            autoFocus
            variant={request.danger ? 'danger' : 'primary'}
            pending={pending}
            onClick={() => void run()}
          >
            {request.confirmLabel}
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-3">
        {request.body && <p>{request.body}</p>}
        <List title={t('goes')} lines={request.goes} />
        <List title={t('stays')} lines={request.stays} />
        {error && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
      </div>
    </Dialog>
  )
}

function List({ title, lines }: { readonly title: string; readonly lines: readonly string[] | undefined }) {
  if (!lines?.length) return null
  return (
    <div>
      <h3 className="text-faint">{title}</h3>
      <ul className="list-disc ps-5">
        {lines.map((line) => (
          <li key={line} className="break-words">
            {line}
          </li>
        ))}
      </ul>
    </div>
  )
}
