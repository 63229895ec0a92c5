'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import type { User } from '#lib/schema/user.ts'

export function ResetPasswordDialog({ user, onClose }: { readonly user: User; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [password, setPassword] = useState('')
  const update = useOperation('userUpdate', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('reset.done', { name: user.name }) })
      onClose()
    },
  })
  return (
    <Dialog
      title={t('reset.title', { name: user.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={update.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="reset-password" variant="primary" pending={update.isPending}>
            {t('reset.submit')}
          </Button>
        </>
      }
    >
      <form
        id="reset-password"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          update.mutate({ input: { params: { id: user.id }, body: { password } } })
        }}
      >
        <p className="text-dim">{t('reset.body')}</p>
        <TextField
          label={t('password')}
          hint={t('passwordHint')}
          type="password"
          autoComplete="new-password"
          minLength={10}
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
          error={update.error?.message}
        />
      </form>
    </Dialog>
  )
}
