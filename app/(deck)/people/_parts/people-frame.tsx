'use client'
import type { ReactNode } from 'react'
import { Tabs } from '#components/nav/tabs.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import { roles } from '#lib/i18n/messages/en/roles.ts'
import { paths } from '#lib/paths.ts'

/** Title and tabs of the pages about people. */
export function PeopleFrame({ actions, children }: { readonly actions?: ReactNode; readonly children: ReactNode }) {
  const t = useT(messages)
  const tRoles = useT(roles)
  return (
    <Page>
      <PageHeader title={t('title')} actions={actions} />
      <div className="-mt-3 border-line border-b">
        <Tabs
          label={tRoles('tabs.label')}
          tabs={[
            { href: paths.people(), label: tRoles('tabs.people') },
            { href: paths.groups(), label: tRoles('tabs.groups') },
            { href: paths.roles(), label: tRoles('tabs.roles') },
          ]}
        />
      </div>
      {children}
    </Page>
  )
}
