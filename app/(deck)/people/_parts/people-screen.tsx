'use client'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import { paths } from '#lib/paths.ts'
import { PeopleFrame } from './people-frame.tsx'
import { UserList } from './user-list.tsx'

const AddPersonDialog = dynamic(() => import('./add-person-dialog.tsx').then((m) => m.AddPersonDialog), { ssr: false })

/** Everybody who may sign in, for administrators. */
export function PeopleScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const manages = useCan('user.manage')
  const [adding, setAdding] = useState(false)
  return (
    <PeopleFrame
      actions={
        <>
          <ButtonLink href={paths.account()}>{t('you')}</ButtonLink>
          {manages && <ButtonLink href={paths.signIn()}>{t('signIn.title')}</ButtonLink>}
          <Button
            variant={manages ? 'primary' : 'plain'}
            disabledReason={manages ? null : tApp('notAllowed')}
            onClick={() => setAdding(true)}
          >
            {t('add')}
          </Button>
        </>
      }
    >
      {manages && (
        <Section title={t('everybody')}>
          <UserList />
        </Section>
      )}
      {!manages && <p className="text-dim">{t('onlyAdmins')}</p>}
      {adding && <AddPersonDialog onClose={() => setAdding(false)} />}
    </PeopleFrame>
  )
}
