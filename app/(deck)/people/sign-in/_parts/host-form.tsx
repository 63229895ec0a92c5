'use client'
import { useState } from 'react'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { signIn as messages } from '#lib/i18n/messages/en/sign-in.ts'
import type { SignInSettings } from '#lib/schema/sign-in.ts'
import { RealmForm } from './realm-form.tsx'

const NEW = { enabled: true, label: 'This host', roles: [], otherRole: null, createPeople: true }

export function HostForm({
  kept,
  unavailable,
}: {
  readonly kept: SignInSettings['host']
  readonly unavailable: string | null
}) {
  const t = useT(messages)
  const [service, setService] = useState(kept?.service ?? 'guestdeck')
  return (
    <RealmForm
      realm="host"
      initial={kept ?? NEW}
      isKept={kept !== null}
      unavailable={unavailable}
      change={(common) => ({
        enabled: common.enabled,
        label: common.label,
        roles: common.roles,
        otherRole: common.otherRole,
        createPeople: common.createPeople,
        service,
      })}
    >
      {(error) => (
        <TextField
          label={t('host.service')}
          hint={t('host.serviceHint')}
          mono
          required
          value={service}
          onChange={(event) => setService(event.target.value)}
          error={error('service')}
        />
      )}
    </RealmForm>
  )
}
