'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import type { LimitsOf } from '#components/access/limits-dialog.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { usage as messages } from '#lib/i18n/messages/en/usage.ts'
import { Defaults } from './defaults.tsx'
import { Freeable } from './freeable.tsx'
import { HolderTable } from './holder-table.tsx'
import { HostUse } from './host-use.tsx'
import { IdleVms } from './idle-vms.tsx'

const LimitsDialog = dynamic(() => import('#components/access/limits-dialog.tsx').then((m) => m.LimitsDialog), {
  ssr: false,
})

/** Who uses what, of which limit, and what would be freed by whom. */
export function UsageScreen() {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.usage())
  const [editing, setEditing] = useState<LimitsOf | null>(null)
  const others = (data?.holders.filter(({ type }) => type === 'person').length ?? 0) > 1
  return (
    <Page>
      <PageHeader title={t('title')} />
      <p className="-mt-3 max-w-prose text-dim">{t(others ? 'intro' : 'introOwn')}</p>
      {error && !data && <LoadError error={error} onRetry={() => void refetch()} />}
      {!error && !data && <Skeleton className="h-64 w-full" />}
      {data && (
        <>
          <HolderTable holders={data.holders} onEdit={setEditing} />
          <div className="grid items-start gap-x-8 gap-y-5 lg:grid-cols-2">
            <Freeable holders={data.holders} />
            <div className="flex min-w-0 flex-col gap-5">
              <HostUse host={data.host} />
              <IdleVms />
            </div>
          </div>
          <Defaults limits={data.defaults} onEdit={setEditing} />
        </>
      )}
      {editing && <LimitsDialog of={editing} onClose={() => setEditing(null)} />}
    </Page>
  )
}
