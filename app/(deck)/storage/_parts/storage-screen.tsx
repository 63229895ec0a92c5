'use client'
import { useQuery } from '@tanstack/react-query'
import { usePathname, useRouter, useSearchParams } from 'next/navigation'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import { DiskDialog, PoolDialog } from './new-dialogs.tsx'
import { PoolList } from './pool-list.tsx'
import { StorageNeeds } from './storage-needs.tsx'
import { VolumeTable } from './volume-table.tsx'

/** Pools, disks and the trash. Filters are in the URL. */
export function StorageScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const pools = useQuery(queries.poolList())
  const volumes = useQuery(queries.volumeList())
  const canManage = useCan('pool.manage')
  const canChange = useCan('volume.change')
  const [dialog, setDialog] = useState<'pool' | 'disk' | null>(null)
  const search = useSearchParams()
  const router = useRouter()
  const here = usePathname()
  const pool = search.get('pool') ?? ''
  const use = search.get('use') ?? ''
  const vm = search.get('vm') ?? ''
  const filter = (name: string, value: string) => {
    const next = new URLSearchParams(search)
    if (value === '') next.delete(name)
    else next.set(name, value)
    router.replace(next.size === 0 ? here : `${here}?${next}`, { scroll: false })
  }
  const { mutateAsync: empty } = useOperation('trashEmpty')
  const all = volumes.data?.items ?? []
  const trash = all.filter((volume) => volume.trashedAt !== null)
  const shown = all.filter(
    (volume) =>
      volume.trashedAt === null &&
      (pool === '' || volume.pool.id === pool) &&
      (vm === '' || volume.vm?.id === vm) &&
      (use === '' || (use === 'free') === (volume.vm === null)),
  )
  const askEmpty = () =>
    askToConfirm({
      title: t('emptyTitle'),
      goes: [t('emptyGoes', { count: trash.length })],
      confirmLabel: t('emptyTrash'),
      danger: true,
      run: async () => {
        const { removed } = await empty({ input: {} })
        showToast({ kind: 'done', title: t('emptied', { removed }) })
      },
    })
  const lines = (
    <div className="-mt-3 flex flex-col">
      {[0, 1, 2].map((line) => (
        <div key={line} className="flex h-13 items-center border-line border-b">
          <Skeleton className="h-4 w-1/2" />
        </div>
      ))}
    </div>
  )
  return (
    <Page>
      <PageHeader
        title={t('title')}
        actions={
          <>
            <Button disabledReason={canManage ? null : tApp('notAllowed')} onClick={() => setDialog('pool')}>
              {t('newPool')}
            </Button>
            <Button
              variant="primary"
              disabledReason={canChange ? null : tApp('notAllowed')}
              onClick={() => setDialog('disk')}
            >
              {t('newDisk')}
            </Button>
          </>
        }
      />
      <p className="-mt-3 max-w-prose text-dim">{t('intro')}</p>
      <StorageNeeds />
      <Section title={t('pools')} note={t('poolsNote')}>
        {pools.error && !pools.data ? (
          <LoadError error={pools.error} onRetry={() => void pools.refetch()} />
        ) : pools.data ? (
          <PoolList pools={pools.data.items} />
        ) : (
          lines
        )}
      </Section>
      <Section title={t('disks')} note={volumes.data && <span className="figures">{shown.length}</span>}>
        {volumes.error && !volumes.data ? (
          <LoadError error={volumes.error} onRetry={() => void volumes.refetch()} />
        ) : !volumes.data ? (
          lines
        ) : (
          <>
            <div className="-mt-3 flex flex-wrap gap-3">
              <Select
                label={t('filterPool')}
                value={pool}
                onChange={(event) => filter('pool', event.target.value)}
                options={[
                  { value: '', label: t('all') },
                  ...(pools.data?.items ?? []).map(({ id, name }) => ({ value: id, label: name })),
                ]}
              />
              <Select
                label={t('filterUse')}
                value={use}
                onChange={(event) => filter('use', event.target.value)}
                options={[
                  { value: '', label: t('all') },
                  { value: 'vm', label: t('attached') },
                  { value: 'free', label: t('freeOnly') },
                ]}
              />
              {vm !== '' && (
                <Select
                  label={t('filterVm')}
                  value={vm}
                  onChange={(event) => filter('vm', event.target.value)}
                  options={[
                    { value: '', label: t('all') },
                    { value: vm, label: all.find((volume) => volume.vm?.id === vm)?.vm?.name ?? t('thisVm') },
                  ]}
                />
              )}
            </div>
            {shown.length > 0 ? (
              <VolumeTable volumes={shown} pools={pools.data?.items ?? []} />
            ) : pool === '' && use === '' && vm === '' ? (
              <EmptyState title={t('empty.title')}>{t('empty.body')}</EmptyState>
            ) : (
              <EmptyState title={t('emptyFilter.title')}>{t('emptyFilter.body')}</EmptyState>
            )}
          </>
        )}
      </Section>
      {trash.length > 0 && (
        <Section title={t('trash')} note={<span className="figures">{trash.length}</span>}>
          <Button
            size="sm"
            className="-mt-3 self-start"
            disabledReason={canChange ? null : tApp('notAllowed')}
            onClick={askEmpty}
          >
            {t('emptyTrash')}
          </Button>
          <VolumeTable volumes={trash} pools={pools.data?.items ?? []} />
        </Section>
      )}
      {dialog === 'pool' && <PoolDialog onClose={() => setDialog(null)} />}
      {dialog === 'disk' && <DiskDialog pools={pools.data?.items ?? []} onClose={() => setDialog(null)} />}
    </Page>
  )
}
