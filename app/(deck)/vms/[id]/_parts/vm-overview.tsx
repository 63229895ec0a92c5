'use client'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { badgeClass } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Facts, Page, Section } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatMiB } from '#lib/i18n/format.ts'
import { access } from '#lib/i18n/messages/en/access.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vm as vmMessages } from '#lib/i18n/messages/en/vm.ts'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import { paths } from '#lib/paths.ts'
import { LastExit } from './last-exit.tsx'
import { VmClones } from './vm-clones.tsx'
import { VmDevices } from './vm-devices.tsx'
import { VmNow } from './vm-now.tsx'
import { VmSeed } from './vm-seed.tsx'

const ShareDialog = dynamic(() => import('#components/access/share-dialog.tsx').then((m) => m.ShareDialog), {
  ssr: false,
})
const SettingsDialog = dynamic(() => import('./settings-dialog.tsx').then((m) => m.SettingsDialog), { ssr: false })

/** What the VM does now, how its last run ended, what it is made of, and the settings people change most. */
export function VmOverview() {
  const vm = useVm()
  const t = useT(messages)
  const tVm = useT(vmMessages)
  const tApp = useT(app)
  const locale = useLocale()
  const [editing, setEditing] = useState(false)
  const { spec } = vm
  const tAccess = useT(access)
  const [sharing, setSharing] = useState(false)
  const mayNotShare = useMayNotVm(vm, 'share.manage') === null ? null : tAccess('share.mayNot')
  const about = (
    <Section
      title={t('about.title')}
      actions={
        <Button size="sm" disabledReason={mayNotShare} onClick={() => setSharing(true)}>
          {tAccess('share.action')}
        </Button>
      }
    >
      <Facts
        facts={[
          { label: t('about.owner'), value: vm.owner.name },
          {
            label: t('about.project'),
            value:
              vm.project === undefined ? (
                <span className="text-faint">{t('about.noProject')}</span>
              ) : (
                <Link href={paths.project(vm.project.id)}>{vm.project.name}</Link>
              ),
          },
          { label: t('about.created'), value: <Time at={vm.createdAt} /> },
          { label: t('about.changed'), value: <Time at={vm.updatedAt} /> },
          {
            label: t('about.id'),
            value: (
              <span className="flex items-center gap-1">
                <code className="min-w-0 break-all font-mono text-sm">{vm.id}</code>
                <CopyButton text={vm.id} label={t('about.copyId')} copiedLabel={tApp('copied')} />
              </span>
            ),
          },
        ]}
      />
    </Section>
  )
  return (
    <Page>
      {vm.lastExit && !vm.live && <LastExit vm={vm} exit={vm.lastExit} />}
      <div className="grid items-start gap-x-8 gap-y-5 lg:grid-cols-2">
        <div className="flex min-w-0 flex-col gap-5">
          {vm.live && <VmNow vm={vm} live={vm.live} />}
          <Section
            title={t('settings.title')}
            actions={
              <Button size="sm" disabledReason={vm.actions.change?.reason} onClick={() => setEditing(true)}>
                {t('settings.edit')}
              </Button>
            }
          >
            <Facts
              facts={[
                {
                  label: t('settings.description'),
                  value: spec.description ? (
                    <span className="whitespace-pre-wrap">{spec.description}</span>
                  ) : (
                    <span className="text-faint">{t('settings.noDescription')}</span>
                  ),
                },
                {
                  label: t('settings.tags'),
                  value:
                    spec.tags.length > 0 ? (
                      <span className="flex flex-wrap gap-1">
                        {spec.tags.map((tag) => (
                          <span key={tag} className={badgeClass()}>
                            {tag}
                          </span>
                        ))}
                      </span>
                    ) : (
                      <span className="text-faint">{t('settings.noDescription')}</span>
                    ),
                },
                { label: tVm('field.guest'), value: tApp(`guest.${spec.guest}`) },
                { label: tVm('field.cpus'), value: <span className="figures">{spec.cpus}</span> },
                {
                  label: tVm('field.memoryMiB'),
                  value: <span className="figures">{formatMiB(spec.memoryMiB, locale)}</span>,
                },
                { label: t('settings.autostart'), value: t(spec.autostart ? 'settings.yes' : 'settings.no') },
              ]}
            />
          </Section>
          {!vm.live && about}
        </div>
        <div className="flex min-w-0 flex-col gap-5">
          <VmDevices vm={vm} />
          <VmSeed vm={vm} />
          <VmClones vm={vm} />
          {vm.live && about}
        </div>
      </div>
      {sharing && <ShareDialog of={{ kind: 'vm', id: vm.id, name: vm.name }} onClose={() => setSharing(false)} />}
      {editing && <SettingsDialog vm={vm} onClose={() => setEditing(false)} />}
    </Page>
  )
}
