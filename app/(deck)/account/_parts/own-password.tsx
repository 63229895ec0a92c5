'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useUser } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'

const SHORTEST_PASSWORD = 10
const BLANK = { current: '', next: '', repeat: '' }

export function OwnPassword() {
  const t = useT(messages)
  const user = useUser()
  const [values, setValues] = useState(BLANK)
  const [checked, setChecked] = useState(false)
  const change = useOperation('passwordChange', {
    onSuccess: () => {
      setValues(BLANK)
      setChecked(false)
      showToast({ kind: 'done', title: t('ownPassword.done') })
    },
  })
  const { error } = change
  const field = error?.code === 'bad_credentials' ? 'current' : error?.field
  const set = (key: keyof typeof BLANK) => (event: { target: { value: string } }) =>
    setValues((old) => ({ ...old, [key]: event.target.value }))
  const tooShort = values.next.length < SHORTEST_PASSWORD
  const mismatch = values.next !== values.repeat
  return (
    <form
      noValidate
      className="flex flex-col gap-3"
      onSubmit={(event) => {
        event.preventDefault()
        setChecked(true)
        if (tooShort || mismatch) return
        change.mutate({ input: { body: { current: values.current, next: values.next } } })
      }}
    >
      {error && field !== 'current' && field !== 'next' && (
        <div role="alert">
          <Banner tone="error">{error.message}</Banner>
        </div>
      )}
      {/* Password managers file the new password under this name. */}
      <input type="text" autoComplete="username" value={user?.name ?? ''} readOnly hidden />
      <TextField
        label={t('ownPassword.current')}
        type="password"
        autoComplete="current-password"
        value={values.current}
        onChange={set('current')}
        error={field === 'current' ? error?.message : undefined}
      />
      <TextField
        label={t('ownPassword.next')}
        type="password"
        autoComplete="new-password"
        hint={t('ownPassword.hint')}
        value={values.next}
        onChange={set('next')}
        error={checked && tooShort ? t('tooShort') : field === 'next' ? error?.message : undefined}
      />
      <TextField
        label={t('ownPassword.repeat')}
        type="password"
        autoComplete="new-password"
        value={values.repeat}
        onChange={set('repeat')}
        error={checked && mismatch ? t('ownPassword.mismatch') : undefined}
      />
      <Button type="submit" className="self-start" pending={change.isPending}>
        {t('ownPassword.submit')}
      </Button>
    </form>
  )
}
