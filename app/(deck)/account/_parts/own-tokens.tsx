'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { type ApiError, toApiError } from '#lib/client/api-client.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { confirmed } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { account as accountMessages } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'

import { EVERYTHING, isComplete, type ScopeDraft, scopeOf, TokenReach, TokenScopeFields } from './token-scope.tsx'

const FOREVER = 'forever'
const DAYS = [7, 30, 90, 365] as const

export function OwnTokens() {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.tokenList())
  const [label, setLabel] = useState('')
  const [validity, setValidity] = useState<string>('90')
  const [secret, setSecret] = useState<string | null>(null)
  const tAccount = useT(accountMessages)
  const [scope, setScope] = useState<ScopeDraft>(EVERYTHING)
  const [problem, setProblem] = useState<ApiError | null>(null)
  const { mutateAsync: create, isPending } = useOperation('tokenCreate')
  const submit = async () => {
    const expires = validity === FOREVER ? {} : { expiresInDays: Number(validity) }
    setProblem(null)
    try {
      const body = { label: label.trim(), ...expires, ...scopeOf(scope) }
      const { token } = await confirmed(() => create({ input: { body } }))
      setSecret(token)
      setLabel('')
      setScope(EVERYTHING)
    } catch (cause) {
      setProblem(toApiError(cause))
    }
  }
  const { mutateAsync: revoke } = useOperation('tokenDelete')
  return (
    <div className="flex min-w-0 flex-col gap-3">
      <p className="-mt-1 text-dim text-sm">{t('tokens.intro')}</p>
      <form
        className="flex flex-wrap items-start gap-2"
        onSubmit={(event) => {
          event.preventDefault()
          if (isComplete(scope)) void submit()
        }}
      >
        <TextField
          className="flex-1 basis-48"
          label={t('tokens.label')}
          required
          maxLength={64}
          value={label}
          onChange={(event) => setLabel(event.target.value)}
          error={problem?.message}
        />
        <Select
          className="w-36"
          label={t('tokens.expires')}
          value={validity}
          onChange={(event) => setValidity(event.target.value)}
          options={[
            ...DAYS.map((count) => ({ value: String(count), label: t('tokens.days', { count }) })),
            { value: FOREVER, label: t('tokens.forever') },
          ]}
        />
        <TokenScopeFields value={scope} onValue={setScope} />
        <Button
          type="submit"
          className="mt-6"
          pending={isPending}
          disabledReason={isComplete(scope) ? null : tAccount('tokens.nothingChosen')}
        >
          {t('tokens.create')}
        </Button>
      </form>
      {error && !data ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Skeleton className="h-9 w-full" />
      ) : data.items.length === 0 ? (
        <p className="text-faint">{t('tokens.none')}</p>
      ) : (
        <ul className="flex flex-col border-line border-t">
          {data.items.map((token) => (
            <li key={token.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-1.5">
              <span className="min-w-0 flex-1 basis-32">
                <span className="block break-words font-medium">{token.label}</span>
                <TokenReach scope={token.scope} />
              </span>
              <span className="text-faint text-sm">
                {token.lastUsedAt ? (
                  <>
                    {t('tokens.used')} <Time at={token.lastUsedAt} />
                    {token.lastUsedFrom && ` ${tAccount('tokens.usedFrom', { from: token.lastUsedFrom })}`}
                  </>
                ) : (
                  t('tokens.neverUsed')
                )}
                {token.expiresAt && (
                  <>
                    {' · '}
                    {t('tokens.expiresAt')} <Time at={token.expiresAt} />
                  </>
                )}
              </span>
              <Button
                size="sm"
                aria-label={t('tokens.revokeNamed', { label: token.label })}
                onClick={() =>
                  askToConfirm({
                    title: t('tokens.revokeTitle', { label: token.label }),
                    body: t('tokens.revokeBody'),
                    confirmLabel: t('tokens.revoke'),
                    danger: true,
                    run: () => revoke({ input: { params: { id: token.id } } }),
                  })
                }
              >
                {t('tokens.revoke')}
              </Button>
            </li>
          ))}
        </ul>
      )}
      {secret && (
        <Dialog
          title={t('tokens.onceTitle')}
          closeLabel={tApp('close')}
          onClose={() => setSecret(null)}
          width="md"
          locked
          footer={
            <Button variant="primary" onClick={() => setSecret(null)}>
              {t('tokens.done')}
            </Button>
          }
        >
          <p className="mb-2">{t('tokens.once')}</p>
          <p className="flex items-center gap-1 rounded-md border border-line bg-sunken px-3 py-2">
            <code className="min-w-0 flex-1 select-all break-all font-mono text-sm">{secret}</code>
            <CopyButton text={secret} label={t('tokens.copy')} copiedLabel={tApp('copied')} />
          </p>
        </Dialog>
      )}
    </div>
  )
}
