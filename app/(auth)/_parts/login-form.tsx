'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { useEffect, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import type { CallOutput } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { safeNext } from '#lib/client/safe-next.ts'
import { auth } from '#lib/i18n/messages/en/auth.ts'
import { paths } from '#lib/paths.ts'
import type { PasswordRealm } from '#lib/schema/user.ts'
import { rememberNext } from './oidc-next.ts'
import { SecondStep } from './second-step.tsx'
import { usePasskeySignIn } from './use-passkey-sign-in.ts'

export function LoginForm({ next }: { readonly next: string | null }) {
  const t = useT(auth)
  const router = useRouter()
  const client = useQueryClient()
  const { data: session } = useQuery(queries.session())
  const { data: ways } = useQuery(queries.signInWays())
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [realm, setRealm] = useState<PasswordRealm>('local')
  const [challenge, setChallenge] = useState<string | null>(null)
  const target = safeNext(next)
  useEffect(() => {
    if (session?.setupNeeded) router.replace(paths.setup())
    else if (session?.user) router.replace(target)
  }, [session, router, target])
  const enter = (answer: CallOutput<'sessionCreate'>) => {
    setPassword('')
    if (answer.challenge !== null) return setChallenge(answer.challenge)
    client.clear()
    client.setQueryData(queries.session().queryKey, answer)
    router.replace(target)
  }
  const login = useOperation('sessionCreate', { onSuccess: enter, onError: () => setPassword('') })
  const oidc = useOperation('oidcBegin', {
    onSuccess: ({ url }) => {
      rememberNext(target)
      location.assign(url)
    },
  })
  const passkey = usePasskeySignIn(null, enter)
  if (challenge !== null) {
    return (
      <SecondStep
        challenge={challenge}
        passkeysUnavailable={ways?.passkeysUnavailable ?? null}
        onDone={enter}
        onAgain={() => {
          login.reset()
          setChallenge(null)
        }}
      />
    )
  }
  const done = login.isSuccess && login.data.user !== null
  const problem = passkey.problem ?? oidc.error?.message
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        login.mutate({ input: { body: { name, password, realm } } })
      }}
    >
      <h1>{t('login.title')}</h1>
      {problem && (
        <div role="alert">
          <Banner tone="error">{problem}</Banner>
        </div>
      )}
      {ways && ways.passwords.length > 1 && (
        <Select
          label={t('login.realm')}
          value={realm}
          onChange={(event) => setRealm(event.target.value as PasswordRealm)}
          options={ways.passwords.map((way) => ({
            value: way.realm,
            label: way.realm === 'local' ? t('login.local') : way.label,
          }))}
        />
      )}
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
      <Button type="submit" variant="primary" pending={login.isPending || done}>
        {t('login.submit')}
      </Button>
      {ways && (ways.oidc !== null || ways.passkeysUnavailable === null) && (
        <>
          <p className="flex items-center gap-3 text-faint text-sm before:h-px before:flex-1 before:bg-line after:h-px after:flex-1 after:bg-line">
            {t('login.or')}
          </p>
          {ways.oidc !== null && (
            <Button pending={oidc.isPending || oidc.isSuccess} onClick={() => oidc.mutate({ input: {} })}>
              {t('login.oidc', { label: ways.oidc })}
            </Button>
          )}
          {ways.passkeysUnavailable === null && (
            <Button pending={passkey.working} onClick={() => void passkey.run()}>
              {t('login.passkey')}
            </Button>
          )}
        </>
      )}
      <p className="text-faint text-sm">{t('login.forgot')}</p>
    </form>
  )
}
