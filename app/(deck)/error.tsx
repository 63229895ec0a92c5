'use client'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Output } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'

/** Shown in place of a page whose own code failed; the frame around it stays. */
export default function PageError({
  error,
  reset,
}: {
  readonly error: Error & { digest?: string }
  readonly reset: () => void
}) {
  const t = useT(app)
  return (
    <div className="mx-auto flex max-w-xl flex-col gap-4 p-6">
      <EmptyState
        title={t('broken.title')}
        actions={
          <Button variant="primary" onClick={reset}>
            {t('broken.again')}
          </Button>
        }
      >
        {t('broken.body')}
      </EmptyState>
      <Output label={t('details')}>{error.digest ? `${error.message}\n${error.digest}` : error.message}</Output>
    </div>
  )
}
