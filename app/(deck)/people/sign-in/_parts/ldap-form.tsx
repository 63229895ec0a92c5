'use client'
import { useState } from 'react'
import { Checkbox } from '#components/ui/choice.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { signIn as messages } from '#lib/i18n/messages/en/sign-in.ts'
import type { SignInSettings } from '#lib/schema/sign-in.ts'
import { RealmForm } from './realm-form.tsx'

const NEW = { enabled: true, label: 'Directory', roles: [], otherRole: null, createPeople: true }
const NEEDED = ['url', 'baseDn', 'filter', 'nameAttribute', 'groupAttribute']

export function LdapForm({ kept }: { readonly kept: SignInSettings['ldap'] }) {
  const t = useT(messages)
  const [fields, setFields] = useState({
    url: kept?.url ?? '',
    baseDn: kept?.baseDn ?? '',
    bindDn: kept?.bindDn ?? '',
    filter: kept?.filter ?? '(uid={name})',
    nameAttribute: kept?.nameAttribute ?? 'uid',
    groupBaseDn: kept?.groupBaseDn ?? '',
    groupFilter: kept?.groupFilter ?? '(member={dn})',
    groupAttribute: kept?.groupAttribute ?? 'cn',
  })
  const [startTls, setStartTls] = useState(kept?.startTls ?? false)
  const [ca, setCa] = useState(kept?.ca ?? '')
  const [secret, setSecret] = useState('')
  const field = (name: keyof typeof fields) => ({
    label: t(`ldap.${name}`),
    mono: true,
    value: fields[name],
    required: NEEDED.includes(name),
    onChange: (event: { target: { value: string } }) => setFields((old) => ({ ...old, [name]: event.target.value })),
  })
  return (
    <RealmForm
      realm="ldap"
      initial={kept ?? NEW}
      isKept={kept !== null}
      change={(common) => ({
        enabled: common.enabled,
        label: common.label,
        roles: common.roles,
        otherRole: common.otherRole,
        createPeople: common.createPeople,
        ...fields,
        startTls,
        ca: ca.trim() === '' ? null : ca,
        ...(secret !== '' && { bindPassword: secret }),
      })}
    >
      {(error) => (
        <>
          <TextField {...field('url')} hint={t('ldap.urlHint')} error={error('url')} />
          <TextField {...field('baseDn')} error={error('baseDn')} />
          <TextField {...field('filter')} hint={t('ldap.filterHint')} error={error('filter')} />
          <TextField {...field('bindDn')} hint={t('ldap.bindDnHint')} error={error('bindDn')} />
          <TextField
            label={t('ldap.secret')}
            hint={kept?.hasBindPassword ? t('oidc.secretKept') : undefined}
            type="password"
            autoComplete="new-password"
            value={secret}
            onChange={(event) => setSecret(event.target.value)}
          />
          <TextField {...field('nameAttribute')} error={error('nameAttribute')} />
          <TextField {...field('groupBaseDn')} hint={t('ldap.groupBaseDnHint')} error={error('groupBaseDn')} />
          <TextField {...field('groupFilter')} error={error('groupFilter')} />
          <TextField {...field('groupAttribute')} error={error('groupAttribute')} />
          <Checkbox
            label={t('ldap.startTls')}
            checked={startTls}
            onChange={(event) => setStartTls(event.target.checked)}
          />
          <TextArea
            className="sm:col-span-2"
            label={t('ldap.ca')}
            hint={t('ldap.caHint')}
            mono
            value={ca}
            onChange={(event) => setCa(event.target.value)}
            error={error('ca')}
          />
        </>
      )}
    </RealmForm>
  )
}
