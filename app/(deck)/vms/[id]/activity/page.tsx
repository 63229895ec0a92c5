import type { Metadata } from 'next'
import { Page } from '#components/ui/page.tsx'
import { ActivityFeed } from '#components/vm/activity-feed.tsx'

export const metadata: Metadata = { title: 'Activity' }

export default async function VmActivityPage({ params }: { readonly params: Promise<{ id: string }> }) {
  const { id } = await params
  return (
    <Page>
      <ActivityFeed vmId={id} />
    </Page>
  )
}
