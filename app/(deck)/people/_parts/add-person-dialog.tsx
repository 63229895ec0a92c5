'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import type { Role } from '#lib/schema/user.ts'

const SHORTEST_PASSWORD = 10

export function AddPersonDialog({ onClose }: { readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [role, setRole] = useState<Role>('operator')
  const [checked, setChecked] = useState(false)
  const create = useOperation('userCreate', {
    onSuccess: (user) => {
      showToast({ kind: 'done', title: t('added', { name: user.name }) })
      onClose()
    },
  })
  const { error } = create
  const field = error?.code === 'name_taken' ? 'name' : error?.field
  const tooShort = password.length < SHORTEST_PASSWORD
  return (
    <Dialog
      title={t('add')}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={create.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="add-person" variant="primary" pending={create.isPending}>
            {t('addSubmit')}
          </Button>
        </>
      }
    >
      <form
        id="add-person"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          setChecked(true)
          if (!tooShort) create.mutate({ input: { body: { name: name.trim(), password, role } } })
        }}
      >
        {error && field !== 'name' && field !== 'password' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <TextField
          label={t('name')}
          hint={t('nameHint')}
          autoCapitalize="none"
          spellCheck={false}
          required
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={field === 'name' ? error?.message : undefined}
        />
        <TextField
          label={t('password')}
          hint={t('passwordHint')}
          type="password"
          autoComplete="new-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
          error={checked && tooShort ? t('tooShort') : field === 'password' ? error?.message : undefined}
        />
        <RadioCards
          legend={t('role')}
          name="role"
          value={role}
          onValue={setRole}
          columns="grid-cols-1"
          options={(['viewer', 'member', 'operator', 'admin'] as const).map((value) => ({
            value,
            label: tApp(`role.${value}`),
            description: t(`roles.${value}`),
          }))}
        />
      </form>
    </Dialog>
  )
}
