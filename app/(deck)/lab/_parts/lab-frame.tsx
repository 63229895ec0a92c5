'use client'
import type { ReactNode } from 'react'
import { Tabs } from '#components/nav/tabs.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { paths } from '#lib/paths.ts'

/** Title and tabs of the lab's pages. */
export function LabFrame({ intro, children }: { readonly intro: string; readonly children: ReactNode }) {
  const t = useT(messages)
  return (
    <Page>
      <PageHeader title={t('title')} />
      <div className="-mt-3 border-line border-b">
        <Tabs
          label={t('tabs.label')}
          tabs={[
            { href: paths.lab(), label: t('tabs.leases') },
            { href: paths.labPower(), label: t('tabs.power') },
            { href: paths.labDevices(), label: t('tabs.devices') },
            { href: paths.labSettings(), label: t('tabs.settings') },
          ]}
        />
      </div>
      <p className="-mt-2 max-w-prose text-dim">{intro}</p>
      {children}
    </Page>
  )
}
