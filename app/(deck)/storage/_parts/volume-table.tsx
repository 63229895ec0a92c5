'use client'
import { Ellipsis } from 'lucide-react'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { AccessDialog } from '#components/access/access-menu.tsx'
import { Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { access } from '#lib/i18n/messages/en/access.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { files as fileMessages } from '#lib/i18n/messages/en/files.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import { paths } from '#lib/paths.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Pool, Volume } from '#lib/schema/storage.ts'
import { VolumeDialog, type VolumeDialogKind } from './volume-dialogs.tsx'
import { useVolumeJobs, VolumeJob } from './volume-job.tsx'

/** Disks as a table; at phone width each is a block of its own. */
export function VolumeTable({
  volumes,
  pools,
}: {
  readonly volumes: readonly Volume[]
  readonly pools: readonly Pool[]
}) {
  const t = useT(messages)
  const jobs = useVolumeJobs()
  return (
    <table className="w-full table-fixed max-md:block">
      <thead className="text-dim text-sm max-md:sr-only">
        <tr className="h-8 border-line border-b">
          <th scope="col">{t('columns.name')}</th>
          <th scope="col" className="w-36 px-2">
            {t('columns.pool')}
          </th>
          <th scope="col" className="w-48 px-2">
            {t('columns.vm')}
          </th>
          <th scope="col" className="w-24 px-2">
            {t('columns.size')}
          </th>
          <th scope="col" className="w-44 px-2 max-lg:hidden">
            {t('columns.onDisk')}
          </th>
          <th scope="col" className="w-12">
            <span className="sr-only">{t('columns.actions')}</span>
          </th>
        </tr>
      </thead>
      <tbody className="max-md:block">
        {volumes.map((volume) => (
          <VolumeRow key={volume.id} volume={volume} pools={pools} job={jobs.get(volume.id)} />
        ))}
      </tbody>
    </table>
  )
}

function VolumeRow({
  volume,
  pools,
  job,
}: {
  readonly volume: Volume
  readonly pools: readonly Pool[]
  readonly job: Job | undefined
}) {
  const t = useT(messages)
  const locale = useLocale()
  const [dialog, setDialog] = useState<VolumeDialogKind | null>(null)
  const [accessDialog, setAccess] = useState<'share' | 'move' | null>(null)
  const size = (bytes: number) => formatBytes(bytes, locale)
  return (
    <tr className="border-line border-b hover:bg-hover max-md:flex max-md:flex-wrap max-md:items-center max-md:gap-x-3 max-md:gap-y-1 max-md:py-2.5">
      <td className="py-2 pe-2 max-md:basis-full max-md:py-0">
        <span className="flex min-w-0 flex-wrap items-center gap-x-2 gap-y-1">
          <span className="min-w-0 break-all font-medium">{volume.name}</span>
          <Badge>{volume.format}</Badge>
        </span>
        <span className="flex flex-wrap items-center gap-x-3 text-faint text-sm">
          {volume.layers > 1 && <span>{t('layers', { count: volume.layers })}</span>}
          {volume.images.map(({ id, name }) => (
            <span key={id} className="break-all">
              {name}
            </span>
          ))}
          {volume.trashedFrom && <span>{t('from', { name: volume.trashedFrom })}</span>}
          {volume.goesAt && <Time at={volume.goesAt} />}
          {volume.problem && (
            <span className="inline-flex items-center gap-1 text-attention">
              <MarkIcon mark="attention" className="size-2.5" />
              {volume.problem}
            </span>
          )}
        </span>
        {job && <VolumeJob job={job} name={volume.name} />}
      </td>
      <td className="break-words px-2 max-md:px-0">{volume.pool.name}</td>
      <td className="break-words px-2 max-md:px-0">
        {volume.vm ? (
          <Link href={paths.vm(volume.vm.id)}>{t('device', { name: volume.vm.name, device: volume.vm.device })}</Link>
        ) : (
          <span className="text-faint">{volume.trashedAt ? '' : t('free')}</span>
        )}
      </td>
      <td className="figures px-2 max-md:px-0">{size(volume.sizeBytes)}</td>
      <td className="figures px-2 text-dim max-lg:hidden">
        {volume.allocatedBytes === null ? '–' : size(volume.allocatedBytes)}
        <span className="block text-faint text-sm">{t('worst', { size: size(volume.worstCaseBytes) })}</span>
      </td>
      <td className="text-end max-md:ms-auto">
        <VolumeMenu volume={volume} pools={pools} onDialog={setDialog} onAccess={setAccess} />
        <AccessDialog
          of={{ kind: 'volume', id: volume.id, name: volume.name }}
          open={accessDialog}
          onClose={() => setAccess(null)}
        />
        {dialog && <VolumeDialog kind={dialog} volume={volume} pools={pools} onClose={() => setDialog(null)} />}
      </td>
    </tr>
  )
}

function VolumeMenu({
  volume,
  pools,
  onDialog,
  onAccess,
}: {
  readonly volume: Volume
  readonly pools: readonly Pool[]
  readonly onDialog: (kind: VolumeDialogKind) => void
  readonly onAccess: (what: 'share' | 'move') => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const tFiles = useT(fileMessages)
  const router = useRouter()
  const canChange = useCan('volume.change')
  const canShare = useCan('share.manage')
  const tAccess = useT(access)
  const { name } = volume
  const input = { params: { id: volume.id } }
  const onError = (cause: unknown) => toastError(cause, name)
  const begun = { onSuccess: () => showToast({ kind: 'info', title: t('started', { name }) }), onError }
  const detach = useOperation('volumeDetach', {
    onSuccess: ({ vm }) => showToast({ kind: 'info', title: t(vm === null ? 'detached' : 'detachWaits', { name }) }),
    onError,
  })
  const convert = useOperation('volumeConvert', begun)
  const compact = useOperation('volumeCompact', begun)
  const restore = useOperation('volumeRestore', {
    onSuccess: (back) => showToast({ kind: 'done', title: t('restored', { name: back.name }) }),
    onError,
  })
  const { mutateAsync: purge } = useOperation('volumeDelete')
  const trash = useOperation('volumeDelete', {
    onSuccess: () =>
      showToast({
        kind: 'done',
        title: t('trashed', { name }),
        action: { label: t('undo'), run: () => restore.mutate({ input }) },
      }),
    onError,
  })
  const may = canChange ? null : tApp('notAllowed')
  const idle = may ?? (volume.vm?.running ? t('inUse') : null)
  const isFree = may ?? (volume.vm ? t('hasVm') : null)
  const other = volume.format === 'raw' ? 'qcow2' : 'raw'
  const hasOther = pools.some((pool) => pool.id !== volume.pool.id && pool.purposes.includes('disks'))
  const askPurge = () =>
    askToConfirm({
      title: t('purgeTitle', { name }),
      goes: [t('purgeGoes')],
      confirmLabel: t('purge'),
      danger: true,
      run: () => purge({ input }),
    })
  return (
    <Menu
      label={t('actions', { name })}
      iconOnly
      items={
        volume.trashedAt
          ? [
              { id: 'restore', label: t('restore'), disabledReason: may, onSelect: () => restore.mutate({ input }) },
              { id: 'purge', label: t('purge'), danger: true, disabledReason: may, onSelect: askPurge },
            ]
          : [
              { id: 'attach', label: t('attach'), disabledReason: isFree, onSelect: () => onDialog('attach') },
              {
                id: 'detach',
                label: t('detach'),
                disabledReason: may ?? (volume.vm ? null : t('noVm')),
                onSelect: () => detach.mutate({ input }),
              },
              {
                id: 'files',
                label: tFiles('browse'),
                disabledReason: may ?? (volume.vm?.running ? tFiles('inUse') : null),
                onSelect: () => router.push(paths.files({ volume: volume.id })),
              },
              { id: 'grow', label: t('grow'), disabledReason: may, onSelect: () => onDialog('grow') },
              {
                id: 'move',
                label: t('move'),
                disabledReason: may ?? (hasOther ? null : t('onePool')),
                onSelect: () => onDialog('move'),
              },
              { id: 'copy', label: t('copy'), disabledReason: idle, onSelect: () => onDialog('copy') },
              {
                id: 'convert',
                label: t('convert', { format: other }),
                disabledReason: idle,
                onSelect: () => convert.mutate({ input: { ...input, body: { format: other } } }),
              },
              { id: 'compact', label: t('compact'), disabledReason: idle, onSelect: () => compact.mutate({ input }) },
              { id: 'chain', label: t('chain.show'), onSelect: () => onDialog('chain') },
              {
                id: 'share',
                label: tAccess('share.actionMore'),
                disabledReason: volume.vm ? tAccess('share.hasVm') : canShare ? null : tApp('notAllowed'),
                onSelect: () => onAccess('share'),
              },
              {
                id: 'to-project',
                label: tAccess('move.action'),
                disabledReason: volume.vm ? tAccess('share.hasVm') : canShare ? null : tApp('notAllowed'),
                onSelect: () => onAccess('move'),
              },
              { id: 'rename', label: t('rename'), disabledReason: may, onSelect: () => onDialog('rename') },
              { kind: 'separator', id: 'line' },
              {
                id: 'trash',
                label: t('remove'),
                danger: true,
                disabledReason: isFree,
                onSelect: () => trash.mutate({ input }),
              },
            ]
      }
    >
      <Ellipsis size={16} aria-hidden="true" />
    </Menu>
  )
}
