'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { LeaseDialog } from '#components/lab/lease-dialog.tsx'
import { IdleText, LeaseText } from '#components/lab/lease-text.tsx'
import { PowerList } from '#components/lab/power-list.tsx'
import { useExtend } from '#components/lab/use-extend.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Page, Section } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'

/** The end of this VM, whether it is idle, and when it is switched on and off. */
export function VmLabScreen() {
  const t = useT(messages)
  const locale = useLocale()
  const vm = useVm()
  const { data, error, refetch } = useQuery(queries.vmLease(vm.id))
  const policy = useQuery(queries.labPolicy()).data?.policy
  const [isOpen, setOpen] = useState(false)
  const { extend, isPending } = useExtend(vm)
  const lease = data?.lab.lease ?? null
  const isOver = lease?.phase === 'suspended' || lease?.phase === 'archived'
  const choices = data?.choices
  return (
    <Page>
      <Section
        title={t('lease.title')}
        actions={
          data !== undefined && (
            <>
              {lease !== null && (
                <Button
                  pending={isPending}
                  disabledReason={choices?.reason}
                  data-tip={
                    choices?.extendsTo == null
                      ? undefined
                      : t('lease.extendTo', { date: formatAbsolute(choices.extendsTo, locale) })
                  }
                  onClick={extend}
                >
                  {t(isOver ? 'lease.undo' : 'lease.extend')}
                </Button>
              )}
              <Button
                disabledReason={choices?.extendsTo === null && choices.latest === null ? choices.reason : null}
                onClick={() => setOpen(true)}
              >
                {t(lease === null ? 'lease.give' : 'lease.set')}
              </Button>
            </>
          )
        }
      >
        {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
        {data === undefined && !error && <Skeleton className="h-10 w-64" />}
        {data !== undefined && (
          <div>{lease === null ? <p className="text-faint">{t('lease.none')}</p> : <LeaseText lease={lease} />}</div>
        )}
      </Section>
      <Section title={t('idle.title')}>
        <div>
          {data?.lab.idle ? (
            <IdleText idle={data.lab.idle} />
          ) : (
            <>
              <p>{t('idle.no')}</p>
              {policy && <p className="text-dim text-sm">{t('idle.noBody', { hours: policy.idle.afterHours })}</p>}
            </>
          )}
        </div>
      </Section>
      <PowerList vm={{ id: vm.id, name: vm.name }} />
      {isOpen && data !== undefined && <LeaseDialog lease={data} name={vm.name} onClose={() => setOpen(false)} />}
    </Page>
  )
}
