'use client'
import { Button } from '#components/ui/button.tsx'
import { Banner, EmptyState } from '#components/ui/feedback.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'

/** What stands where data should be when reading them failed, or is not allowed. */
export function LoadError({ error, onRetry }: { readonly error: unknown; readonly onRetry: () => void }) {
  const t = useT(app)
  const { code, message, status } = toApiError(error)
  if (status === 403) return <EmptyState title={t('list.forbidden')}>{t('list.forbiddenHint')}</EmptyState>
  // The gate is already leading to the sign-in page.
  if (code === 'unauthenticated') return null
  return (
    <div role="alert">
      <Banner tone="error" actions={<Button onClick={onRetry}>{t('retry')}</Button>}>
        <p className="font-medium">{t('list.failed')}</p>
        <p className="text-dim">{message}</p>
      </Banner>
    </div>
  )
}
