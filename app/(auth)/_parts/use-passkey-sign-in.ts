'use client'
import { useState } from 'react'
import { type CallOutput, call, toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { askForPasskey, PasskeyCancelled } from '#lib/client/passkeys.ts'
import { auth } from '#lib/i18n/messages/en/auth.ts'

/** @param challenge of a first step that this is the second of; null: the passkey alone signs in */
export function usePasskeySignIn(challenge: string | null, onDone: (answer: CallOutput<'passkeySession'>) => void) {
  const t = useT(auth)
  const [working, setWorking] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  const run = async () => {
    setWorking(true)
    setProblem(null)
    const step = challenge === null ? {} : { challenge }
    try {
      const { id, options } = await call('passkeyOptions', { body: step })
      const response = await askForPasskey(options)
      onDone(await call('passkeySession', { body: { id, response, ...step } }))
    } catch (cause) {
      setProblem(
        cause instanceof PasskeyCancelled
          ? t('login.passkeyFailed', { why: cause.message })
          : toApiError(cause).message,
      )
    } finally {
      setWorking(false)
    }
  }
  return { run, working, problem }
}
