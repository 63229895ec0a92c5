'use client'
import { BackupsView } from '#components/backup/backups-view.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'

export function BackupsScreen() {
  const t = useT(messages)
  return (
    <Page>
      <PageHeader title={t('title')} />
      <p className="-mt-3 max-w-prose text-dim">{t('intro')}</p>
      <BackupsView vm={null} />
    </Page>
  )
}
