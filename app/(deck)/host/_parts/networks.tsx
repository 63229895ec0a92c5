'use client'
import { useQuery } from '@tanstack/react-query'
import { Pencil, Trash2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { networks as messages } from '#lib/i18n/messages/en/networks.ts'
import type { Network } from '#lib/schema/network.ts'

const NetworkDialog = dynamic(() => import('./network-dialog.tsx').then((m) => m.NetworkDialog), { ssr: false })

/** Bridges by name, and whose VMs may be plugged into them. */
export function Networks() {
  const t = useT(messages)
  const tApp = useT(app)
  const sees = useCan('network.view')
  const manages = useCan('network.manage')
  const [edited, setEdited] = useState<Network | 'new' | null>(null)
  if (!sees) return null
  return (
    <Section
      title={t('title')}
      actions={
        <Button size="sm" disabledReason={manages ? null : tApp('notAllowed')} onClick={() => setEdited('new')}>
          {t('create')}
        </Button>
      }
    >
      <p className="max-w-prose text-dim">{t(manages ? 'intro' : 'introUser')}</p>
      <List manages={manages} onEdit={setEdited} />
      {edited !== null && <NetworkDialog network={edited === 'new' ? null : edited} onClose={() => setEdited(null)} />}
    </Section>
  )
}

function List({ manages, onEdit }: { readonly manages: boolean; readonly onEdit: (network: Network) => void }) {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.networkList())
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  if (!data) return <Skeleton className="h-16 w-full" />
  if (data.items.length === 0) return <EmptyState title={t('none')}>{t(manages ? 'noneBody' : 'noneUser')}</EmptyState>
  return (
    <ul className="flex flex-col border-line border-t">
      {data.items.map((network) => (
        <Row key={network.id} network={network} manages={manages} onEdit={onEdit} />
      ))}
    </ul>
  )
}

function Row({
  network,
  manages,
  onEdit,
}: {
  readonly network: Network
  readonly manages: boolean
  readonly onEdit: (network: Network) => void
}) {
  const t = useT(messages)
  const interfaces = useQuery(queries.hostDevices()).data?.interfaces
  const isThere = interfaces?.some(({ kind, name }) => kind === 'bridge' && name === network.bridge) ?? true
  const { mutateAsync: remove } = useOperation('networkDelete')
  const { name, bridge, vms } = network
  const names = vms.map((vm) => vm.name).join(', ')
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-2">
      <span className="flex min-w-0 flex-1 basis-56 flex-col">
        <span className="flex flex-wrap items-baseline gap-x-2">
          <span className="break-words font-medium">{name}</span>
          <span className="font-mono text-dim text-sm">{bridge}</span>
          {!isThere && <span className="text-attention text-sm">{t('gone')}</span>}
        </span>
        {network.description !== '' && <span className="break-words text-dim text-sm">{network.description}</span>}
        <span className="break-words text-dim text-sm">
          {network.everybody
            ? t('everybody')
            : network.projects.length === 0
              ? t('nobody')
              : t('projects', { projects: network.projects.map((project) => project.name).join(', ') })}
          {' · '}
          <span title={names}>{t('vms', { count: vms.length })}</span>
        </span>
      </span>
      {manages && (
        <>
          <IconButton size="sm" label={t('edit', { name })} onClick={() => onEdit(network)}>
            <Pencil size={14} aria-hidden="true" />
          </IconButton>
          <IconButton
            size="sm"
            label={t('remove', { name })}
            onClick={() =>
              askToConfirm({
                title: t('removeTitle', { name }),
                body: t('removeBody', { bridge }),
                stays: vms.length === 0 ? [] : [t('removeStays', { count: vms.length, names })],
                confirmLabel: t('remove', { name }),
                danger: true,
                run: async () => {
                  await remove({ input: { params: { id: network.id } } })
                  showToast({ kind: 'done', title: t('removed', { name }) })
                },
              })
            }
          >
            <Trash2 size={14} aria-hidden="true" />
          </IconButton>
        </>
      )}
    </li>
  )
}
