'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { identityQuestion } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { useUser } from '#lib/client/session.ts'
import { useStore } from '#lib/client/use-store.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

/** Asks what `confirmed` wants to know. */
export function IdentityHost() {
  const question = useStore(identityQuestion)
  return question && <IdentityDialog answer={question.answer} />
}

function IdentityDialog({ answer }: { readonly answer: (isProved: boolean) => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const user = useUser()
  const [password, setPassword] = useState('')
  const [code, setCode] = useState('')
  const confirm = useOperation('sessionConfirm', { onSuccess: () => answer(true), onError: () => setPassword('') })
  const { error } = confirm
  return (
    <Dialog
      title={t('identity.title')}
      closeLabel={tApp('close')}
      onClose={() => answer(false)}
      footer={
        <>
          <Button onClick={() => answer(false)}>{tApp('cancel')}</Button>
          <Button type="submit" form="identity" variant="primary" pending={confirm.isPending}>
            {t('identity.submit')}
          </Button>
        </>
      }
    >
      <form
        id="identity"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          confirm.mutate({ input: { body: password === '' ? { code } : { password } } })
        }}
      >
        <p className="text-dim">{t('identity.body')}</p>
        {user?.hasPassword ? (
          <>
            <input type="text" autoComplete="username" value={user.name} readOnly hidden />
            <TextField
              label={t('identity.password')}
              type="password"
              autoComplete="current-password"
              autoFocus
              value={password}
              onChange={(event) => setPassword(event.target.value)}
              error={error && error.field !== 'code' ? error.message : undefined}
            />
          </>
        ) : (
          <p className="text-dim">{t('identity.signOut')}</p>
        )}
        <TextField
          label={t('identity.code')}
          autoComplete="one-time-code"
          mono
          value={code}
          onChange={(event) => setCode(event.target.value)}
          error={error?.field === 'code' || !user?.hasPassword ? error?.message : undefined}
        />
      </form>
    </Dialog>
  )
}
