'use client'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { ActivityFeed } from '#components/vm/activity-feed.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { activity as messages } from '#lib/i18n/messages/en/activity.ts'

export function ActivityScreen() {
  const t = useT(messages)
  return (
    <Page>
      <PageHeader title={t('title')} />
      <ActivityFeed vmId={null} />
    </Page>
  )
}
