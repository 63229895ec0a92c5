'use client'
import { useQuery } from '@tanstack/react-query'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import type { Person } from '#lib/schema/user.ts'

export function TheirTokensDialog({ user, onClose }: { readonly user: Person; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.userTokenList(user.id))
  const revoke = useOperation('userTokenDelete', {
    onError: (cause) => toastError(cause, t('failed', { name: user.name })),
  })
  return (
    <Dialog
      title={t('theirTokens.title', { name: user.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      footer={<Button onClick={onClose}>{tApp('close')}</Button>}
    >
      {error && !data ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Skeleton className="h-9 w-full" />
      ) : data.items.length === 0 ? (
        <p className="text-faint">{t('theirTokens.none')}</p>
      ) : (
        <ul className="flex flex-col">
          {data.items.map((token) => (
            <li key={token.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-1.5">
              <span className="min-w-0 flex-1 basis-40">
                <span className="block break-words font-medium">{token.label}</span>
                <span className="block break-words text-faint text-sm">
                  {token.scope ? token.scope.privileges.join(', ') : null}{' '}
                  {token.lastUsedAt ? (
                    <>
                      {t('tokens.used')} <Time at={token.lastUsedAt} />
                    </>
                  ) : (
                    t('tokens.neverUsed')
                  )}
                </span>
              </span>
              <Button
                size="sm"
                aria-label={t('tokens.revokeNamed', { label: token.label })}
                pending={revoke.isPending}
                onClick={() => revoke.mutate({ input: { params: { id: user.id, token: token.id } } })}
              >
                {t('tokens.revoke')}
              </Button>
            </li>
          ))}
        </ul>
      )}
    </Dialog>
  )
}
