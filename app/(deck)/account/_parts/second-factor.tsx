'use client'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { confirmed } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import type { Account } from '#lib/schema/account.ts'

const TotpDialog = dynamic(() => import('./totp-dialog.tsx').then((m) => m.TotpDialog), { ssr: false })
const PasskeyDialog = dynamic(() => import('./passkey-dialog.tsx').then((m) => m.PasskeyDialog), { ssr: false })
const CodesDialog = dynamic(() => import('./codes-dialog.tsx').then((m) => m.CodesDialog), { ssr: false })

/** An app for codes, passkeys, and the codes for when both are lost. */
export function SecondFactor({ account }: { readonly account: Account }) {
  const t = useT(messages)
  const [open, setOpen] = useState<'totp' | 'passkey' | null>(null)
  const [codes, setCodes] = useState<readonly string[] | null>(null)
  const { mutateAsync: dropTotp } = useOperation('totpDelete')
  const { mutateAsync: dropPasskey } = useOperation('passkeyDelete')
  const { mutateAsync: renew } = useOperation('recoveryCreate')
  const { totp, passkeys, recoveryCodesLeft } = account
  const finished = (fresh: readonly string[] | null) => {
    setOpen(null)
    setCodes(fresh)
  }
  return (
    <div className="flex flex-col gap-5">
      <div className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2">
        <div className="min-w-0 flex-1 basis-60">
          <h3>{t('factor.app')}</h3>
          <p className="text-dim text-sm">
            {totp
              ? t.rich('factor.appSince', { time: () => <Time key="time" at={totp.confirmedAt} /> })
              : t('factor.appNone')}
          </p>
        </div>
        {totp ? (
          <Button
            onClick={() =>
              askToConfirm({
                title: t('factor.takeAwayTitle'),
                body: t('factor.takeAwayBody'),
                confirmLabel: t('factor.takeAway'),
                danger: true,
                run: () => confirmed(() => dropTotp({ input: {} })),
              })
            }
          >
            {t('factor.takeAway')}
          </Button>
        ) : (
          <Button onClick={() => setOpen('totp')}>{t('factor.setUp')}</Button>
        )}
      </div>
      <div className="flex flex-col gap-2">
        <div className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2">
          <div className="min-w-0 flex-1 basis-60">
            <h3>{t('factor.passkeys')}</h3>
            <p className="text-dim text-sm">{account.passkeysUnavailable ?? t('factor.passkeysIntro')}</p>
          </div>
          <Button disabledReason={account.passkeysUnavailable} onClick={() => setOpen('passkey')}>
            {t('factor.passkeyAdd')}
          </Button>
        </div>
        {passkeys.length === 0 ? (
          <p className="text-faint text-sm">{t('factor.passkeyNone')}</p>
        ) : (
          <ul className="flex flex-col border-line border-t">
            {passkeys.map((passkey) => (
              <li key={passkey.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-1.5">
                <span className="flex min-w-0 flex-1 basis-32 items-center gap-2">
                  <span className="truncate font-medium">{passkey.label}</span>
                  {passkey.synced && <Badge>{t('factor.synced')}</Badge>}
                </span>
                <span className="text-faint text-sm">
                  {t('factor.forHost', { hostname: passkey.hostname })} ·{' '}
                  {passkey.lastUsedAt
                    ? t.rich('factor.used', { time: () => <Time key="time" at={passkey.lastUsedAt ?? ''} /> })
                    : t('factor.neverUsed')}
                </span>
                <Button
                  size="sm"
                  aria-label={t('factor.passkeyRemove', { label: passkey.label })}
                  onClick={() =>
                    askToConfirm({
                      title: t('factor.passkeyRemoveTitle', { label: passkey.label }),
                      body: t('factor.passkeyRemoveBody'),
                      confirmLabel: t('factor.remove'),
                      danger: true,
                      run: () => confirmed(() => dropPasskey({ input: { params: { id: passkey.id } } })),
                    })
                  }
                >
                  {t('factor.remove')}
                </Button>
              </li>
            ))}
          </ul>
        )}
      </div>
      <div className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2">
        <div className="min-w-0 flex-1 basis-60">
          <h3>{t('factor.recovery')}</h3>
          <p className="text-dim text-sm">
            {totp || passkeys.length > 0
              ? t('factor.recoveryLeft', { count: recoveryCodesLeft })
              : t('factor.recoveryNone')}
          </p>
        </div>
        <Button
          disabledReason={totp || passkeys.length > 0 ? null : t('factor.recoveryNone')}
          onClick={() =>
            askToConfirm({
              title: t('factor.recoveryNewTitle'),
              body: t('factor.recoveryNewBody'),
              confirmLabel: t('factor.recoveryNew'),
              run: async () => setCodes((await confirmed(() => renew({ input: {} }))).recoveryCodes),
            })
          }
        >
          {t('factor.recoveryNew')}
        </Button>
      </div>
      {open === 'totp' && <TotpDialog onClose={() => setOpen(null)} onDone={finished} />}
      {open === 'passkey' && <PasskeyDialog onClose={() => setOpen(null)} onDone={finished} />}
      {codes && <CodesDialog codes={codes} onClose={() => setCodes(null)} />}
    </div>
  )
}
