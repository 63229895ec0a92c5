'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { TextField } from '#components/ui/field.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { deviceName } from '#lib/client/device-name.ts'
import { useT } from '#lib/client/i18n.tsx'
import { confirmed } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { makePasskey, PasskeyCancelled } from '#lib/client/passkeys.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

export function PasskeyDialog({
  onClose,
  onDone,
}: {
  readonly onClose: () => void
  readonly onDone: (recoveryCodes: readonly string[] | null) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [label, setLabel] = useState(() => deviceName(navigator.userAgent) ?? '')
  const [working, setWorking] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  const { mutateAsync: begin } = useOperation('passkeyBegin')
  const { mutateAsync: keep } = useOperation('passkeyCreate')
  const make = async () => {
    setWorking(true)
    setProblem(null)
    try {
      const { id, options } = await confirmed(() => begin({ input: {} }))
      const response = await makePasskey(options)
      const { recoveryCodes } = await keep({ input: { body: { id, label: label.trim(), response } } })
      onDone(recoveryCodes)
    } catch (cause) {
      setProblem(
        cause instanceof PasskeyCancelled
          ? t('factor.passkeyCancelled', { why: cause.message })
          : toApiError(cause).message,
      )
    } finally {
      setWorking(false)
    }
  }
  return (
    <Dialog
      title={t('factor.passkeyAdd')}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={working}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="passkey" variant="primary" pending={working}>
            {t('factor.passkeyAdd')}
          </Button>
        </>
      }
    >
      <form
        id="passkey"
        onSubmit={(event) => {
          event.preventDefault()
          void make()
        }}
      >
        <TextField
          label={t('factor.passkeyLabel')}
          hint={t('factor.passkeyLabelHint')}
          required
          maxLength={64}
          autoFocus
          value={label}
          onChange={(event) => setLabel(event.target.value)}
          error={problem ?? undefined}
        />
      </form>
    </Dialog>
  )
}
