'use client'
import { type FormEvent, type ReactNode, useId } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog, type DialogProps } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'

/** A dialog that is one form: what was refused above its fields, Cancel and Save below. Locked while it is saved. */
export function SaveDialog({
  title,
  width = 'sm',
  isPending,
  error,
  onSubmit,
  onClose,
  children,
}: Pick<DialogProps, 'title' | 'width' | 'onClose'> & {
  readonly isPending: boolean
  /** What no field shows; null: nothing. */
  readonly error: { readonly code: string; readonly message: string } | null
  readonly onSubmit: () => void
  readonly children: ReactNode
}) {
  const t = useT(app)
  const id = useId()
  return (
    <Dialog
      title={title}
      width={width}
      closeLabel={t('close')}
      onClose={onClose}
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" form={id} variant="primary" pending={isPending}>
            {t('save')}
          </Button>
        </>
      }
    >
      <form
        id={id}
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event: FormEvent) => {
          event.preventDefault()
          onSubmit()
        }}
      >
        {error && (
          <div role="alert">
            <Banner tone="error">
              <p>{error.message}</p>
              {error.code === 'stale_revision' && <p>{t('stale')}</p>}
            </Banner>
          </div>
        )}
        {children}
      </form>
    </Dialog>
  )
}
