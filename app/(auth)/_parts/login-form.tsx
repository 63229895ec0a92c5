'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { useEffect, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { safeNext } from '#lib/client/safe-next.ts'
import { auth } from '#lib/i18n/messages/en/auth.ts'
import { paths } from '#lib/paths.ts'

export function LoginForm({ next }: { readonly next: string | null }) {
  const t = useT(auth)
  const router = useRouter()
  const client = useQueryClient()
  const { data: session } = useQuery(queries.session())
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const target = safeNext(next)
  useEffect(() => {
    if (session?.setupNeeded) router.replace(paths.setup())
    else if (session?.user) router.replace(target)
  }, [session, router, target])
  const login = useOperation('sessionCreate', {
    onSuccess: (answer) => {
      client.clear()
      client.setQueryData(queries.session().queryKey, answer)
      router.replace(target)
    },
    onError: () => setPassword(''),
  })
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        login.mutate({ input: { body: { name, password } } })
      }}
    >
      <h1>{t('login.title')}</h1>
      <TextField
        label={t('login.name')}
        name="username"
        autoComplete="username"
        autoCapitalize="none"
        spellCheck={false}
        autoFocus
        required
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <TextField
        label={t('login.password')}
        name="password"
        type="password"
        autoComplete="current-password"
        required
        value={password}
        onChange={(event) => setPassword(event.target.value)}
        error={login.error?.message}
      />
      <Button type="submit" variant="primary" pending={login.isPending || login.isSuccess}>
        {t('login.submit')}
      </Button>
      <p className="text-faint text-sm">{t('login.forgot')}</p>
    </form>
  )
}
