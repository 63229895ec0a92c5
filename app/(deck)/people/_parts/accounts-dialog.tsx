'use client'
import { X } from 'lucide-react'
import { useState } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import type { ExternalLogin, ExternalRealm, Person } from '#lib/schema/user.ts'

const REALMS: readonly ExternalRealm[] = ['oidc', 'ldap', 'host']

/** Which accounts elsewhere sign in as this person. */
export function AccountsDialog({ user, onClose }: { readonly user: Person; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [logins, setLogins] = useState<readonly ExternalLogin[]>(user.logins)
  const [realm, setRealm] = useState<ExternalRealm>('oidc')
  const [subject, setSubject] = useState('')
  const save = useOperation('userLogins', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('accounts.done', { name: user.name }) })
      onClose()
    },
  })
  return (
    <Dialog
      title={t('accounts.title', { name: user.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={save.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            variant="primary"
            pending={save.isPending}
            onClick={() => save.mutate({ input: { params: { id: user.id }, body: { logins: [...logins] } } })}
          >
            {t('accounts.save')}
          </Button>
        </>
      }
    >
      <p className="mb-3 text-dim">{t('accounts.body')}</p>
      {logins.length === 0 ? (
        <p className="mb-3 text-faint">{t('accounts.none')}</p>
      ) : (
        <ul className="mb-3 flex flex-col border-line border-t">
          {logins.map((login) => (
            <li key={`${login.realm} ${login.subject}`} className="flex items-center gap-3 border-line border-b py-1.5">
              <span className="w-36 shrink-0 text-dim">{t(`accounts.realms.${login.realm}`)}</span>
              <span className="min-w-0 flex-1 break-all font-mono text-sm">{login.subject}</span>
              <IconButton
                size="sm"
                label={t('accounts.remove', { subject: login.subject })}
                onClick={() => setLogins(logins.filter((other) => other !== login))}
              >
                <X size={14} aria-hidden="true" />
              </IconButton>
            </li>
          ))}
        </ul>
      )}
      <form
        className="flex flex-wrap items-start gap-2"
        onSubmit={(event) => {
          event.preventDefault()
          setLogins([...logins, { realm, subject: subject.trim() }])
          setSubject('')
        }}
      >
        <Select
          className="w-44"
          label={t('accounts.realm')}
          value={realm}
          onChange={(event) => setRealm(event.target.value as ExternalRealm)}
          options={REALMS.map((value) => ({ value, label: t(`accounts.realms.${value}`) }))}
        />
        <TextField
          className="flex-1 basis-56"
          label={t('accounts.subject')}
          hint={t('accounts.subjectHint')}
          required
          maxLength={512}
          value={subject}
          onChange={(event) => setSubject(event.target.value)}
          error={save.error?.message}
        />
        <Button type="submit" className="mt-6">
          {t('accounts.add')}
        </Button>
      </form>
    </Dialog>
  )
}
