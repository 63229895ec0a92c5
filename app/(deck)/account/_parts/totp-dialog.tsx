'use client'
import { useEffect, useRef, useState } from 'react'
import { encode } from 'uqr'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { confirmed } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

/** Dark modules as one path; always dark on light, since many cameras read no other. */
function QrCode({ text, label }: { readonly text: string; readonly label: string }) {
  const { data, size } = encode(text, { ecc: 'M', border: 3 })
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : []))).join('')
  return (
    <svg
      viewBox={`0 0 ${size} ${size}`}
      role="img"
      aria-label={label}
      shapeRendering="crispEdges"
      className="size-48 shrink-0 rounded-md"
    >
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  )
}

export function TotpDialog({
  onClose,
  onDone,
}: {
  readonly onClose: () => void
  readonly onDone: (recoveryCodes: readonly string[] | null) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [setup, setSetup] = useState<{ secret: string; uri: string } | null>(null)
  const [code, setCode] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const begun = useRef(false)
  const { mutateAsync: begin } = useOperation('totpBegin')
  const { mutateAsync: turnOn, isPending } = useOperation('totpConfirm')
  useEffect(() => {
    // Once, also where effects run twice: each beginning makes the last one void.
    if (begun.current) return
    begun.current = true
    confirmed(() => begin({ input: {} })).then(setSetup, (cause) => setProblem(toApiError(cause).message))
  }, [begin])
  const confirm = async () => {
    setProblem(null)
    try {
      const { recoveryCodes } = await confirmed(() => turnOn({ input: { body: { code } } }))
      showToast({ kind: 'done', title: t('totp.done') })
      onDone(recoveryCodes)
    } catch (cause) {
      setProblem(toApiError(cause).message)
    }
  }
  return (
    <Dialog
      title={t('totp.title')}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="totp" variant="primary" pending={isPending}>
            {t('totp.submit')}
          </Button>
        </>
      }
    >
      <form
        id="totp"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          void confirm()
        }}
      >
        <p>{t('totp.scan')}</p>
        <div className="flex flex-wrap items-start gap-4">
          {setup ? <QrCode text={setup.uri} label={t('totp.qr')} /> : <Skeleton className="size-48" />}
          <div className="flex min-w-0 flex-1 basis-56 flex-col gap-4">
            <div>
              <p className="font-medium text-dim text-sm">{t('totp.key')}</p>
              <p className="flex items-start gap-1">
                <code className="min-w-0 flex-1 select-all break-all font-mono text-sm">{setup?.secret}</code>
                {setup && <CopyButton text={setup.secret} label={t('totp.copy')} copiedLabel={tApp('copied')} />}
              </p>
            </div>
            <TextField
              label={t('totp.code')}
              mono
              inputMode="numeric"
              autoComplete="one-time-code"
              required
              maxLength={7}
              value={code}
              onChange={(event) => setCode(event.target.value)}
              error={problem ?? undefined}
            />
          </div>
        </div>
      </form>
    </Dialog>
  )
}
