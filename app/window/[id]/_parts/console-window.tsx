'use client'
import { useQuery } from '@tanstack/react-query'
import { ConsoleView } from '#components/console/console-view.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { NotFound } from '#components/nav/not-found.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { DiskPauseNotice } from '#components/vm/disk-pause.tsx'
import { VmStateMark } from '#components/vm/vm-state.tsx'
import { ApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { usePageTitle } from '#lib/client/use-page-title.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'

/** A VM's console with nothing around it but its name. */
export function ConsoleWindow({ id }: { readonly id: string }) {
  const t = useT(consoleMessages)
  const tApp = useT(app)
  const { data: vm, error, refetch } = useQuery(queries.vmView(id))
  const name = vm?.name
  usePageTitle(name ? `${name} · ${t('title')} · ${tApp('name')}` : null)
  if (error instanceof ApiError && (error.status === 404 || error.code === 'bad_input')) {
    return (
      <div className="p-4">
        <NotFound />
      </div>
    )
  }
  if (!vm) {
    return error ? (
      <div className="p-4">
        <LoadError error={error} onRetry={() => void refetch()} />
      </div>
    ) : (
      <Skeleton className="h-full w-full" />
    )
  }
  return (
    <>
      <header className="flex items-center gap-3 border-line border-b bg-surface px-3 py-1">
        <h1 className="min-w-0 truncate font-medium text-base">{vm.name}</h1>
        <VmStateMark state={vm.state} />
      </header>
      <DiskPauseNotice vm={vm} />
      <ConsoleView vm={vm} ownWindow />
    </>
  )
}
