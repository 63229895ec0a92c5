'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { auth } from '#lib/i18n/messages/en/auth.ts'
import { paths } from '#lib/paths.ts'

const SHORTEST_PASSWORD = 10

export function SetupForm() {
  const t = useT(auth)
  const router = useRouter()
  const client = useQueryClient()
  const { data: session } = useQuery(queries.session())
  const [values, setValues] = useState({ code: '', name: '', password: '', repeat: '' })
  const [checked, setChecked] = useState(false)
  const setup = useOperation('setupCreate', {
    onSuccess: (answer) => {
      client.clear()
      client.setQueryData(queries.session().queryKey, answer)
      router.replace(paths.overview())
    },
  })
  const set = (key: keyof typeof values) => (event: { target: { value: string } }) =>
    setValues((old) => ({ ...old, [key]: event.target.value }))

  if (session && !session.setupNeeded && !setup.isSuccess && !setup.isPending)
    return (
      <div className="flex flex-col items-start gap-4">
        <h1>{t('setup.title')}</h1>
        <p>{t('setup.done')}</p>
        <ButtonLink href={paths.login()} variant="primary">
          {t('setup.toLogin')}
        </ButtonLink>
      </div>
    )

  const { error } = setup
  const field = error?.code === 'bad_setup_code' ? 'code' : error?.field
  const serverError = (name: string) => (field === name ? error?.message : undefined)
  const placed = field === 'code' || field === 'name' || field === 'password'
  const tooShort = checked && values.password.length < SHORTEST_PASSWORD
  const mismatch = checked && values.repeat !== values.password
  return (
    <form
      className="flex flex-col gap-4"
      noValidate
      onSubmit={(event) => {
        event.preventDefault()
        setChecked(true)
        if (values.password.length < SHORTEST_PASSWORD || values.repeat !== values.password) return
        const { code, name, password } = values
        setup.mutate({ input: { body: { code: code.trim(), name: name.trim(), password } } })
      }}
    >
      <div className="flex flex-col gap-1">
        <h1>{t('setup.title')}</h1>
        <p className="text-dim">{t('setup.intro')}</p>
      </div>
      {error && !placed && (
        <div role="alert">
          <Banner tone="error">{error.message}</Banner>
        </div>
      )}
      <TextField
        label={t('setup.code')}
        hint={t('setup.codeHint')}
        name="code"
        mono
        autoFocus
        autoCapitalize="none"
        spellCheck={false}
        required
        value={values.code}
        onChange={set('code')}
        error={serverError('code')}
      />
      <TextField
        label={t('setup.name')}
        hint={t('setup.nameHint')}
        name="username"
        autoComplete="username"
        autoCapitalize="none"
        spellCheck={false}
        required
        value={values.name}
        onChange={set('name')}
        error={serverError('name')}
      />
      <TextField
        label={t('setup.password')}
        hint={t('setup.passwordHint')}
        name="password"
        type="password"
        autoComplete="new-password"
        required
        value={values.password}
        onChange={set('password')}
        error={tooShort ? t('setup.tooShort') : serverError('password')}
      />
      <TextField
        label={t('setup.repeat')}
        name="repeat"
        type="password"
        autoComplete="new-password"
        required
        value={values.repeat}
        onChange={set('repeat')}
        error={mismatch ? t('setup.mismatch') : undefined}
      />
      <Button type="submit" variant="primary" pending={setup.isPending || setup.isSuccess}>
        {t('setup.submit')}
      </Button>
    </form>
  )
}
