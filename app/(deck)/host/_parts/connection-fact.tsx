'use client'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { host as messages } from '#lib/i18n/messages/en/host.ts'
import type { Connection } from '#lib/schema/host.ts'

const MARKS: Record<Connection['state'], Mark> = { ok: 'running', warning: 'attention', failed: 'crashed' }

/** How browsers reach the dashboard, and the certificate they are shown. */
export function ConnectionFact({ connection }: { readonly connection: Connection }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const { certificate, state, summary } = connection
  return (
    <div className="flex min-w-0 flex-col gap-1">
      <p className="flex items-baseline gap-2">
        {state !== 'ok' && <MarkIcon mark={MARKS[state]} />}
        <span>{summary}</span>
      </p>
      {certificate && (
        <>
          <p className="break-words text-dim text-sm">
            {t('connection.names', {
              names: certificate.names.join(', '),
              date: formatAbsolute(certificate.expiresAt, locale),
            })}{' '}
            {!certificate.selfSigned && t('connection.issuer', { issuer: certificate.issuer })}
          </p>
          <p className="flex items-center gap-1 text-sm">
            <code className="min-w-0 break-all font-mono">{certificate.fingerprint}</code>
            <CopyButton
              text={certificate.fingerprint}
              label={t('connection.copyFingerprint')}
              copiedLabel={tApp('copied')}
            />
          </p>
        </>
      )}
    </div>
  )
}
