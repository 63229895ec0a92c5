'use client'
import { useInfiniteQuery } from '@tanstack/react-query'
import { useRouter, useSearchParams } from 'next/navigation'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { activityPages } from '#lib/client/activity-pages.ts'
import { useT } from '#lib/client/i18n.tsx'
import { activity as messages } from '#lib/i18n/messages/en/activity.ts'
import { ActivityList } from './activity-list.tsx'
import { useActivitySearch } from './activity-search.tsx'

/** What happened, page by page; to one VM, or everywhere. The filter is in the address. */
export function ActivityFeed({ vmId }: { readonly vmId: string | null }) {
  const t = useT(messages)
  const router = useRouter()
  const params = useSearchParams()
  const problems = params.get('only') === 'problems'
  const addressOf = (only: boolean) => {
    const next = new URLSearchParams(params)
    if (only) next.set('only', 'problems')
    else next.delete('only')
    return `?${next.toString()}`
  }
  const search = useActivitySearch()
  const isSearch = vmId === null && Object.keys(search).length > 0
  const feed = useInfiniteQuery(activityPages(vmId, vmId === null ? search : {}))
  const entries = feed.data?.pages.flatMap((page) => page.items)
  const shown = problems ? entries?.filter((entry) => entry.result === 'failed' || entry.result === 'denied') : entries
  if (feed.error && !feed.data) return <LoadError error={feed.error} onRetry={() => void feed.refetch()} />
  return (
    <div className="flex flex-col gap-2">
      <fieldset aria-label={t('filter')} className="flex gap-0.5">
        {([false, true] as const).map((only) => (
          <Button
            key={String(only)}
            variant="quiet"
            aria-pressed={problems === only}
            className={cx('px-2!', problems === only && 'bg-selected text-ink!')}
            onClick={() => router.replace(addressOf(only), { scroll: false })}
          >
            {t(only ? 'problems' : 'all')}
          </Button>
        ))}
      </fieldset>
      {shown?.length === 0 ? (
        <p className="py-2 text-faint">
          {t(problems && feed.hasNextPage ? 'noNewProblems' : isSearch ? 'noMatch' : problems ? 'noProblems' : 'none')}
        </p>
      ) : (
        <ActivityList entries={shown} linkObjects={vmId === null} />
      )}
      {feed.hasNextPage && (
        <Button className="self-start" pending={feed.isFetchingNextPage} onClick={() => void feed.fetchNextPage()}>
          {t('more')}
        </Button>
      )}
    </div>
  )
}
