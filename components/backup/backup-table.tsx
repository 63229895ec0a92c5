'use client'
import { EllipsisVertical } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { useMayOnVm } from '#components/access/use-may-vm.ts'
import { Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { operationUrl } from '#lib/client/api-client.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { formatAbsolute, formatBytes } from '#lib/i18n/format.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import { files as fileMessages } from '#lib/i18n/messages/en/files.ts'
import { paths } from '#lib/paths.ts'
import type { Backup } from '#lib/schema/backup.ts'

const RestoreDialog = dynamic(() => import('./restore-dialog.tsx').then((m) => m.RestoreDialog), { ssr: false })
const VerifyDialog = dynamic(() => import('./verify-dialog.tsx').then((m) => m.VerifyDialog), { ssr: false })
const NoteDialog = dynamic(() => import('./note-dialog.tsx').then((m) => m.NoteDialog), { ssr: false })

/** Backups, newest first; at phone width each is a block of its own. */
export function BackupTable({ items, showVm }: { readonly items: readonly Backup[]; readonly showVm: boolean }) {
  const t = useT(messages)
  return (
    <table className="-mt-3 w-full table-fixed max-md:block">
      <thead className="text-dim text-sm max-md:sr-only">
        <tr className="h-8 border-line border-b">
          {showVm && <th scope="col">{t('vm')}</th>}
          <th scope="col" className="w-44">
            {t('made')}
          </th>
          <th scope="col" className="w-40 px-2">
            {t('kind')}
          </th>
          <th scope="col" className="w-24 px-2">
            {t('size')}
          </th>
          <th scope="col" className="w-28 px-2 max-lg:hidden">
            {t('target')}
          </th>
          <th scope="col" className="px-2">
            {t('state')}
          </th>
          <th scope="col" className="w-12">
            <span className="sr-only">{t('actions')}</span>
          </th>
        </tr>
      </thead>
      <tbody className="max-md:block">
        {items.map((backup) => (
          <BackupRow key={backup.id} backup={backup} showVm={showVm} />
        ))}
      </tbody>
    </table>
  )
}

type Asking = 'restore' | 'verify' | 'note' | null

function BackupRow({ backup, showVm }: { readonly backup: Backup; readonly showVm: boolean }) {
  const t = useT(messages)
  const tFiles = useT(fileMessages)
  const router = useRouter()
  const locale = useLocale()
  const canBackUp = useMayOnVm(backup.vm.id, 'vm.backup')
  const canRestore = useMayOnVm(backup.vm.id, 'backup.restore')
  const [asking, setAsking] = useState<Asking>(null)
  const remove = useOperation('backupDelete')
  const change = useOperation('backupUpdate', { onError: (error) => toastError(error, t('title')) })
  const { name } = backup.vm
  const when = formatAbsolute(backup.createdAt, locale)
  const size = formatBytes(backup.sizeBytes, locale)
  const confirmDelete = () =>
    askToConfirm({
      title: t('deleteTitle', { name }),
      goes: [t('deleteGoes', { when, size })],
      stays: [
        t('deleteStays'),
        ...(backup.children.length > 0 ? [t('deleteMerge', { count: backup.children.length })] : []),
      ],
      confirmLabel: t('deleteNow'),
      danger: true,
      run: async () => {
        await remove.mutateAsync({
          input: { params: { id: backup.id }, query: { dependents: backup.children.length > 0 ? 'merge' : 'refuse' } },
        })
        showToast({ kind: 'done', title: t('deleteStarted') })
      },
    })
  return (
    <tr className="border-line border-b align-top max-md:relative max-md:block max-md:py-2 max-md:pe-10">
      {showVm && (
        <td className="py-2 max-md:block max-md:py-0">
          {backup.vm.exists ? (
            <Link href={paths.vmBackups(backup.vm.id)}>{name}</Link>
          ) : (
            <span data-tip={t('gone')}>{name}</span>
          )}
        </td>
      )}
      <td className="py-2 max-md:block max-md:py-0">
        <Time at={backup.createdAt} />
        {backup.note && <p className="break-words text-dim text-sm">{backup.note}</p>}
      </td>
      <td className="px-2 py-2 max-md:block max-md:px-0 max-md:py-0">
        {t(`kinds.${backup.kind}`)}
        <p className="text-faint text-sm">
          {[
            backup.changedBytes === null ? null : t('changed', { size: formatBytes(backup.changedBytes, locale) }),
            backup.frozen ? t('frozen') : backup.running ? null : t('off'),
          ]
            .filter((one) => one !== null)
            .join(' · ')}
        </p>
      </td>
      <td className="figures px-2 py-2 max-md:block max-md:px-0 max-md:py-0">{size}</td>
      <td className="truncate px-2 py-2 max-lg:hidden">{backup.pool.name}</td>
      <td className="px-2 py-2 max-md:block max-md:px-0 max-md:py-0">
        <BackupMarks backup={backup} />
      </td>
      <td className="py-1 text-end max-md:absolute max-md:end-0 max-md:top-1 max-md:block">
        <Menu
          label={t('actionsOf', { name, when })}
          iconOnly
          variant="quiet"
          size="sm"
          items={[
            {
              id: 'restore',
              label: t('restore'),
              onSelect: () => setAsking('restore'),
              disabledReason: canRestore ? backup.problem : LOOK_ONLY,
            },
            {
              id: 'files',
              label: tFiles('browse'),
              onSelect: () => router.push(paths.files({ backup: backup.id })),
              disabledReason: canRestore ? backup.problem : LOOK_ONLY,
            },
            {
              id: 'verify',
              label: t('verify'),
              onSelect: () => setAsking('verify'),
              disabledReason: canBackUp ? backup.problem : LOOK_ONLY,
            },
            {
              id: 'note',
              label: t('note'),
              onSelect: () => setAsking('note'),
              disabledReason: canBackUp ? null : LOOK_ONLY,
            },
            {
              id: 'keep',
              label: backup.keep ? t('unpin') : t('pin'),
              onSelect: () => change.mutate({ input: { params: { id: backup.id }, body: { keep: !backup.keep } } }),
              disabledReason: canBackUp ? null : LOOK_ONLY,
            },
            { kind: 'separator', id: 'line' },
            {
              id: 'delete',
              label: t('delete'),
              danger: true,
              onSelect: confirmDelete,
              disabledReason: canBackUp ? null : LOOK_ONLY,
            },
          ]}
        >
          <EllipsisVertical size={16} aria-hidden="true" />
        </Menu>
        {asking === 'restore' && <RestoreDialog backup={backup} onClose={() => setAsking(null)} />}
        {asking === 'verify' && <VerifyDialog backup={backup} onClose={() => setAsking(null)} />}
        {asking === 'note' && <NoteDialog backup={backup} onClose={() => setAsking(null)} />}
      </td>
    </tr>
  )
}

const LOOK_ONLY = 'You may look but not change.'

function BackupMarks({ backup }: { readonly backup: Backup }) {
  const t = useT(messages)
  const { verified, problem, children, keep } = backup
  const seesScreen = useMayOnVm(backup.vm.id, 'vm.console.view')
  return (
    <div className="flex flex-col gap-1 text-start">
      {problem !== null && (
        <p className="flex items-start gap-1.5">
          <MarkIcon mark="crashed" className="mt-1 size-3" />
          <span>
            {t('problem')} <span className="block text-dim text-sm">{problem}</span>
          </span>
        </p>
      )}
      {verified === null ? (
        problem === null && <span className="text-faint">{t('unverified')}</span>
      ) : (
        <p className="flex items-start gap-1.5">
          <MarkIcon mark={verified.ok ? 'running' : 'crashed'} className="mt-1 size-3" />
          <span>
            {t.rich(verified.ok ? 'verified' : 'bad', { time: () => <Time at={verified.at} /> })}
            <span className="block text-dim text-sm">{verified.message}</span>
          </span>
        </p>
      )}
      {verified?.booted && seesScreen && (
        // biome-ignore lint/performance/noImgElement: a picture of the API, behind the session
        <img
          // Another check makes another picture.
          src={`${operationUrl('backupScreenshot', { params: { id: backup.id } })}?at=${encodeURIComponent(verified.at)}`}
          alt={t('picture', { name: backup.vm.name })}
          loading="lazy"
          className="max-h-32 w-48 rounded-sm border border-line bg-sunken object-contain"
        />
      )}
      <span className="flex flex-wrap gap-1">
        {keep && <Badge tone="accent">{t('keep')}</Badge>}
        {children.length > 0 && <Badge>{t('needs', { count: children.length })}</Badge>}
      </span>
    </div>
  )
}
