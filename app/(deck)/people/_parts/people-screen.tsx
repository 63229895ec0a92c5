'use client'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useCan, useUser } from '#lib/client/session.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import { OwnPassword } from './own-password.tsx'
import { OwnTokens } from './own-tokens.tsx'
import { UserList } from './user-list.tsx'

const AddPersonDialog = dynamic(() => import('./add-person-dialog.tsx').then((m) => m.AddPersonDialog), { ssr: false })

/** Everybody sees their own account here; administrators also everybody else's. */
export function PeopleScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const user = useUser()
  const manages = useCan('user.manage')
  const [adding, setAdding] = useState(false)
  return (
    <Page>
      <PageHeader
        title={t('title')}
        actions={
          <Button
            variant={manages ? 'primary' : 'plain'}
            disabledReason={manages ? null : tApp('notAllowed')}
            onClick={() => setAdding(true)}
          >
            {t('add')}
          </Button>
        }
      />
      {manages && (
        <Section title={t('everybody')}>
          <UserList />
        </Section>
      )}
      <div id="you" className="scroll-mt-16">
        <Section
          title={t('you')}
          note={user && `${user.name} · ${tApp(`role.${user.role}`)}: ${t(`roles.${user.role}`)}`}
        >
          <div className="grid items-start gap-x-8 gap-y-6 lg:grid-cols-[22rem_minmax(0,1fr)]">
            <OwnPassword />
            <OwnTokens />
          </div>
        </Section>
      </div>
      {adding && <AddPersonDialog onClose={() => setAdding(false)} />}
    </Page>
  )
}
