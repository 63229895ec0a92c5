'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { deviceName } from '#lib/client/device-name.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import { paths } from '#lib/paths.ts'

export function OwnSessions() {
  const t = useT(messages)
  const router = useRouter()
  const client = useQueryClient()
  const { data, error, refetch } = useQuery(queries.sessionList())
  const end = useOperation('sessionRevoke', { onError: (cause) => toastError(cause, t('factor.failed')) })
  const { mutateAsync: endAll } = useOperation('sessionRevokeAll')
  const others = useOperation('sessionRevokeAll', {
    onSuccess: () => showToast({ kind: 'done', title: t('sessions.ended') }),
    onError: (cause) => toastError(cause, t('factor.failed')),
  })
  return (
    <Section
      title={t('sessions.title')}
      actions={
        <>
          <Button
            size="sm"
            pending={others.isPending}
            onClick={() => others.mutate({ input: { body: { keepThis: true } } })}
          >
            {t('sessions.endOthers')}
          </Button>
          <Button
            size="sm"
            onClick={() =>
              askToConfirm({
                title: t('sessions.endAllTitle'),
                body: t('sessions.endAllBody'),
                confirmLabel: t('sessions.endAll'),
                danger: true,
                run: async () => {
                  await endAll({ input: { body: {} } })
                  client.clear()
                  router.replace(paths.login())
                },
              })
            }
          >
            {t('sessions.endAll')}
          </Button>
        </>
      }
    >
      {error && !data ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Skeleton className="h-9 w-full" />
      ) : (
        <ul className="-mt-3 flex flex-col">
          {data.items.map((session) => {
            const device = deviceName(session.device) ?? t('sessions.unknown')
            return (
              <li
                key={session.id}
                className="flex min-h-11 flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-1.5"
              >
                <span
                  className="flex min-w-0 flex-1 basis-40 items-center gap-2"
                  data-tip={session.device || undefined}
                >
                  <span className="truncate font-medium">{device}</span>
                  {session.current && <Badge tone="accent">{t('sessions.this')}</Badge>}
                </span>
                <span className="text-faint text-sm">
                  {t('sessions.from', { from: session.from })} · {t(`sessions.by.${session.by}`)} ·{' '}
                  {t.rich('sessions.seen', { time: () => <Time key="time" at={session.lastSeenAt} /> })}
                </span>
                {!session.current && (
                  <Button
                    size="sm"
                    aria-label={t('sessions.endNamed', { device, from: session.from })}
                    onClick={() => end.mutate({ input: { params: { id: session.id } } })}
                  >
                    {t('sessions.end')}
                  </Button>
                )}
              </li>
            )
          })}
        </ul>
      )}
    </Section>
  )
}
