'use client'
import { useQuery } from '@tanstack/react-query'
import NextLink from 'next/link'
import { useRouter } from 'next/navigation'
import type { ReactNode } from 'react'
import { Breadcrumbs } from '#components/nav/breadcrumbs.tsx'
import { Link } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { NotFound } from '#components/nav/not-found.tsx'
import { Tabs } from '#components/nav/tabs.tsx'
import { Elapsed } from '#components/text/time.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { AcceleratorBadge } from '#components/vm/accelerator-badge.tsx'
import { DiskPauseNotice } from '#components/vm/disk-pause.tsx'
import { LabBar } from '#components/vm/lab-bar.tsx'
import { LineageBadges } from '#components/vm/lineage-badges.tsx'
import { PendingBar } from '#components/vm/pending-bar.tsx'
import { ScreenThumbnail } from '#components/vm/screen-thumbnail.tsx'
import { VmActionsMenu, VmPrimaryAction } from '#components/vm/vm-actions-menu.tsx'
import { VmProvider } from '#components/vm/vm-context.tsx'
import { VmStateMark } from '#components/vm/vm-state.tsx'
import { ApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { usePageTitle } from '#lib/client/use-page-title.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Header, pending changes and tabs of one VM; the tab's own page inside. */
export function VmFrame({ id, children }: { readonly id: string; readonly children: ReactNode }) {
  const tApp = useT(app)
  const t = useT(messages)
  const router = useRouter()
  const { data: vm, error, refetch } = useQuery(queries.vmView(id))
  const name = vm?.name
  usePageTitle(name ? `${name} · ${tApp('name')}` : null)

  const gone = error instanceof ApiError && (error.status === 404 || error.code === 'bad_input')
  if (gone)
    return (
      <div className="p-4 sm:p-6">
        <NotFound />
      </div>
    )
  if (!vm && error)
    return (
      <div className="p-4 sm:p-6">
        <LoadError error={error} onRetry={() => void refetch()} />
      </div>
    )
  return (
    <>
      <header className="flex flex-col gap-2 border-line border-b px-4 pt-3 sm:px-6">
        <Breadcrumbs steps={[{ href: paths.vms(), label: tApp('nav.vms') }]} />
        <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
          {vm ? (
            <NextLink
              href={paths.vmConsole(id)}
              prefetch={false}
              aria-label={t('openConsole')}
              className="max-sm:hidden"
            >
              <ScreenThumbnail vm={vm} width={192} className="w-24" />
            </NextLink>
          ) : (
            <Skeleton className="h-15 w-24 max-sm:hidden" />
          )}
          <div className="flex min-w-0 flex-1 basis-56 flex-col gap-1">
            <h1 className="break-words">{vm ? vm.name : <Skeleton className="h-7 w-40" />}</h1>
            <div className="flex min-h-5 flex-wrap items-center gap-x-3 gap-y-1">
              {vm && (
                <>
                  <span className="flex items-center gap-1.5" role="status">
                    <VmStateMark state={vm.state} />
                    <span className="text-faint">{t.rich('since', { time: () => <Elapsed since={vm.since} /> })}</span>
                  </span>
                  <AcceleratorBadge accelerator={vm.accelerator} />
                  <LineageBadges vm={vm} />
                  <Whose vm={vm} />
                  {vm.stateDetail && vm.diskPause === undefined && (
                    <span className="basis-full text-dim">{vm.stateDetail}</span>
                  )}
                </>
              )}
            </div>
          </div>
          {vm && (
            <div className="flex items-center gap-2">
              <VmPrimaryAction vm={vm} />
              <VmActionsMenu vm={vm} onDeleted={() => router.push(paths.vms())} />
            </div>
          )}
        </div>
        <Tabs
          label={t('tabs.label')}
          tabs={[
            { href: paths.vm(id), label: t('tabs.overview') },
            { href: paths.vmConsole(id), label: t('tabs.console') },
            { href: paths.vmDevices(id), label: t('tabs.devices') },
            { href: paths.vmSnapshots(id), label: t('tabs.snapshots') },
            { href: paths.vmBackups(id), label: t('tabs.backups') },
            { href: paths.vmRecordings(id), label: t('tabs.recordings') },
            { href: paths.vmLab(id), label: t('tabs.lab') },
            { href: paths.vmDefinition(id), label: t('tabs.definition') },
            { href: paths.vmActivity(id), label: t('tabs.activity') },
          ]}
        />
      </header>
      {vm && (
        <VmProvider vm={vm}>
          <DiskPauseNotice vm={vm} />
          <PendingBar vm={vm} />
          <LabBar vm={vm} />
          {children}
        </VmProvider>
      )}
    </>
  )
}

/** Whose it is, and of which project. */
function Whose({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  return (
    <span className="min-w-0 break-words text-faint">
      {vm.project === undefined
        ? t('ownedBy', { name: vm.owner.name })
        : t.rich(
            'ownedIn',
            {
              project: (children) => (
                <Link href={paths.project(vm.project?.id ?? '')} className="underline">
                  {children}
                </Link>
              ),
            },
            { name: vm.owner.name, project: vm.project.name },
          )}
    </span>
  )
}
