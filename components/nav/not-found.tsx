'use client'
import { EmptyState } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { paths } from '#lib/paths.ts'
import { ButtonLink } from './link.tsx'

/** What a page shows for something that is not there, or not the reader's to see. */
export function NotFound() {
  const t = useT(app)
  return (
    <EmptyState
      title={t('notFound.title')}
      actions={<ButtonLink href={paths.overview()}>{t('notFound.back')}</ButtonLink>}
    >
      {t('notFound.body')}
    </EmptyState>
  )
}
