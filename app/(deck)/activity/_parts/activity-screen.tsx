'use client'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { ActivityFeed } from '#components/vm/activity-feed.tsx'
import { ActivitySearchBar } from '#components/vm/activity-search.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { activity as messages } from '#lib/i18n/messages/en/activity.ts'

export function ActivityScreen() {
  const t = useT(messages)
  const canSearch = useCan('activity.view.all')
  return (
    <Page>
      <PageHeader title={t('title')} />
      {canSearch && <ActivitySearchBar />}
      <ActivityFeed vmId={null} />
    </Page>
  )
}
