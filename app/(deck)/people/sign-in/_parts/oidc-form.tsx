'use client'
import { useState } from 'react'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { signIn as messages } from '#lib/i18n/messages/en/sign-in.ts'
import type { SignInSettings } from '#lib/schema/sign-in.ts'
import { RealmForm } from './realm-form.tsx'

const NEW = { enabled: true, label: 'Single sign-on', roles: [], otherRole: null, createPeople: true }

export function OidcForm({
  kept,
  redirectUri,
}: {
  readonly kept: SignInSettings['oidc']
  readonly redirectUri: string | null
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [fields, setFields] = useState({
    issuer: kept?.issuer ?? '',
    clientId: kept?.clientId ?? '',
    scopes: kept?.scopes ?? 'openid profile email',
    nameClaim: kept?.nameClaim ?? 'preferred_username',
    groupsClaim: kept?.groupsClaim ?? 'groups',
  })
  const [allowed, setAllowed] = useState(kept?.allowed.join('\n') ?? '')
  const [secret, setSecret] = useState('')
  const field = (name: keyof typeof fields) => ({
    label: t(`oidc.${name}`),
    value: fields[name],
    required: true,
    onChange: (event: { target: { value: string } }) => setFields((old) => ({ ...old, [name]: event.target.value })),
  })
  return (
    <RealmForm
      realm="oidc"
      initial={kept ?? NEW}
      isKept={kept !== null}
      change={(common) => ({
        enabled: common.enabled,
        label: common.label,
        roles: common.roles,
        otherRole: common.otherRole,
        createPeople: common.createPeople,
        ...fields,
        allowed: allowed.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()])),
        ...(secret !== '' && { clientSecret: secret }),
      })}
    >
      {(error) => (
        <>
          <TextField {...field('issuer')} mono type="url" placeholder="https://" error={error('issuer')} />
          {redirectUri !== null && (
            <p className="flex min-w-0 flex-wrap items-center gap-1 text-dim text-sm sm:col-span-2">
              {t('oidc.redirect')} <code className="break-all font-mono">{redirectUri}</code>
              <CopyButton text={redirectUri} label={t('oidc.copy')} copiedLabel={tApp('copied')} />
            </p>
          )}
          <TextField {...field('clientId')} mono error={error('clientId')} />
          <TextField
            label={t('oidc.secret')}
            hint={t(kept?.hasClientSecret ? 'oidc.secretKept' : 'oidc.secretNone')}
            type="password"
            autoComplete="new-password"
            value={secret}
            onChange={(event) => setSecret(event.target.value)}
          />
          <TextField {...field('nameClaim')} mono error={error('nameClaim')} />
          <TextField {...field('groupsClaim')} mono error={error('groupsClaim')} />
          <TextField {...field('scopes')} mono error={error('scopes')} />
          <TextArea
            label={t('oidc.allowed')}
            hint={t('oidc.allowedHint')}
            mono
            value={allowed}
            onChange={(event) => setAllowed(event.target.value)}
          />
        </>
      )}
    </RealmForm>
  )
}
