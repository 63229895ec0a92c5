'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { RefreshCw } from 'lucide-react'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Facts, Page, PageHeader, Section } from '#components/ui/page.tsx'
import { CapacityBars } from '#components/vm/capacity-bars.tsx'
import { call } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatDuration } from '#lib/i18n/format.ts'
import { host as messages } from '#lib/i18n/messages/en/host.ts'
import { ConnectionFact } from './connection-fact.tsx'
import { HostDevices } from './host-devices.tsx'
import { Networks } from './networks.tsx'
import { Readiness } from './readiness.tsx'
import { Stack } from './stack.tsx'
import { Verdict } from './verdict.tsx'

/** The host as the layers it consists of, each with evidence; then what is missing and how to get it. */
export function HostScreen() {
  const t = useT(messages)
  const locale = useLocale()
  const client = useQueryClient()
  const { data: host, error, refetch } = useQuery(queries.hostView())
  const [checking, setChecking] = useState(false)
  const check = async () => {
    setChecking(true)
    try {
      const fresh = await call('hostView', { query: { refresh: 'true' } })
      client.setQueryData(queries.hostView().queryKey, fresh)
    } catch (cause) {
      toastError(cause, t('checkFailed'))
    }
    setChecking(false)
  }
  return (
    <Page>
      <PageHeader
        title={t('title')}
        note={host && <span className="font-mono">{host.hostname}</span>}
        actions={
          <>
            {host && (
              <span className="text-faint text-sm max-sm:hidden" role="status">
                {t('checked')} <Time at={host.accelerator.checkedAt} />
              </span>
            )}
            <Button pending={checking} icon={<RefreshCw size={14} aria-hidden="true" />} onClick={() => void check()}>
              {t(checking ? 'checking' : 'check')}
            </Button>
          </>
        }
      />
      {error && !host ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : !host ? (
        <div className="grid gap-8 lg:grid-cols-2">
          <Skeleton className="h-96 w-full" />
          <Skeleton className="h-96 w-full" />
        </div>
      ) : (
        <>
          <div className="grid items-start gap-x-8 gap-y-5 lg:grid-cols-2">
            <Section title={t('stack.title')}>
              <Stack host={host} />
            </Section>
            <Verdict verdict={host.accelerator} />
          </div>
          <Readiness host={host} />
          <div className="grid items-start gap-x-8 gap-y-5 lg:grid-cols-2">
            <Section title={t('capacity')}>
              <CapacityBars capacity={host.capacity} />
            </Section>
            <Section title={t('facts.title')}>
              <Facts
                facts={[
                  { label: t('facts.name'), value: <span className="font-mono text-sm">{host.hostname}</span> },
                  { label: t('facts.os'), value: host.os },
                  { label: t('facts.kernel'), value: <span className="font-mono text-sm">{host.kernel}</span> },
                  { label: t('facts.cpu'), value: host.capacity.cpus.model },
                  {
                    label: t('facts.uptime'),
                    value: <span className="figures">{formatDuration(host.uptimeSeconds, locale)}</span>,
                  },
                  { label: t('facts.version'), value: host.guestdeckVersion },
                  { label: t('facts.isolation'), value: host.isolation.summary },
                  { label: t('facts.connection'), value: <ConnectionFact connection={host.connection} /> },
                ]}
              />
            </Section>
          </div>
          <Networks />
          <HostDevices />
        </>
      )}
    </Page>
  )
}
