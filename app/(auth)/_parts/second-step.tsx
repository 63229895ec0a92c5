'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import type { CallOutput } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { auth } from '#lib/i18n/messages/en/auth.ts'
import { usePasskeySignIn } from './use-passkey-sign-in.ts'

/** Asks for the second factor. Which ones somebody has is not told: all ways are offered to everybody. */
export function SecondStep({
  challenge,
  passkeysUnavailable,
  onDone,
  onAgain,
}: {
  readonly challenge: string
  readonly passkeysUnavailable: string | null
  readonly onDone: (answer: CallOutput<'secondFactorCreate'>) => void
  readonly onAgain: () => void
}) {
  const t = useT(auth)
  const [code, setCode] = useState('')
  const send = useOperation('secondFactorCreate', { onSuccess: onDone, onError: () => setCode('') })
  const passkey = usePasskeySignIn(challenge, onDone)
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        send.mutate({ input: { body: { challenge, code } } })
      }}
    >
      <div className="flex flex-col gap-1">
        <h1>{t('second.title')}</h1>
        <p className="text-dim">{t('second.body')}</p>
      </div>
      {passkey.problem && (
        <div role="alert">
          <Banner tone="error">{passkey.problem}</Banner>
        </div>
      )}
      <TextField
        label={t('second.code')}
        autoComplete="one-time-code"
        autoCapitalize="characters"
        spellCheck={false}
        autoFocus
        mono
        required
        value={code}
        onChange={(event) => setCode(event.target.value)}
        error={send.error?.message}
      />
      <Button type="submit" variant="primary" pending={send.isPending || send.isSuccess}>
        {t('second.submit')}
      </Button>
      <Button pending={passkey.working} disabledReason={passkeysUnavailable} onClick={() => void passkey.run()}>
        {t('second.passkey')}
      </Button>
      <Button variant="quiet" onClick={onAgain}>
        {t('second.again')}
      </Button>
    </form>
  )
}
