'use client'
import { useQuery } from '@tanstack/react-query'
import { Link } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { ActivityList } from '#components/vm/activity-list.tsx'
import { CapacityBars } from '#components/vm/capacity-bars.tsx'
import { VmCard } from '#components/vm/vm-card.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { overview as messages } from '#lib/i18n/messages/en/overview.ts'
import { paths } from '#lib/paths.ts'
import { sortVms } from '#lib/vm/sort.ts'
import { FirstSteps } from './first-steps.tsx'
import { NeedsYou } from './needs-you.tsx'

const SHOWN_VMS = 12
const SHOWN_LINES = 8

/** What needs you, what is left, what runs, what happened. */
export function OverviewScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const list = useQuery(queries.vmList())
  const host = useQuery(queries.hostView())
  const activity = useQuery(queries.activityList(SHOWN_LINES))
  const vms = list.data?.items
  const running =
    vms &&
    sortVms(
      vms.filter((vm) => vm.live),
      'name',
      false,
    )

  return (
    <Page>
      <PageHeader title={t('title')} />
      {list.error && !vms && <LoadError error={list.error} onRetry={() => void list.refetch()} />}
      {vms && <NeedsYou vms={vms} host={host.data} />}
      {vms?.length === 0 ? (
        <FirstSteps />
      ) : (
        <Section
          title={t('running.title')}
          note={running && <span className="figures">{running.length}</span>}
          actions={<Link href={paths.vms()}>{t('running.all')}</Link>}
        >
          {running?.length === 0 ? (
            <p className="text-faint">{t('running.none')}</p>
          ) : (
            <ul className="grid grid-cols-2 gap-3 sm:grid-cols-[repeat(auto-fill,minmax(11rem,1fr))]">
              {running
                ? running.slice(0, SHOWN_VMS).map((vm) => (
                    <li key={vm.id}>
                      <VmCard vm={vm} />
                    </li>
                  ))
                : [0, 1, 2, 3, 4].map((card) => (
                    <li key={card}>
                      <Skeleton className="aspect-[8/5] w-full" />
                      <Skeleton className="mt-2 h-4 w-2/3" />
                    </li>
                  ))}
            </ul>
          )}
          {running && running.length > SHOWN_VMS && (
            <Link href={`${paths.vms()}?q=state%3Arunning&view=grid`}>
              {t('running.more', { count: running.length - SHOWN_VMS })}
            </Link>
          )}
        </Section>
      )}
      <div className="grid gap-x-8 gap-y-5 lg:grid-cols-2">
        <Section title={t('capacity.title')} actions={<Link href={paths.host()}>{tApp('nav.host')}</Link>}>
          {host.error && !host.data ? (
            <LoadError error={host.error} onRetry={() => void host.refetch()} />
          ) : (
            <CapacityBars capacity={host.data?.capacity} />
          )}
        </Section>
        <Section title={t('activity.title')} actions={<Link href={paths.activity()}>{t('activity.all')}</Link>}>
          {activity.error && !activity.data ? (
            <LoadError error={activity.error} onRetry={() => void activity.refetch()} />
          ) : activity.data?.items.length === 0 ? (
            <p className="text-faint">{t('activity.none')}</p>
          ) : (
            <ActivityList entries={activity.data?.items} />
          )}
        </Section>
      </div>
    </Page>
  )
}
