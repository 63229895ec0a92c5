'use client'
import { useState } from 'react'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { ButtonLink } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Facts } from '#components/ui/page.tsx'
import { CloneDialog } from '#components/vm/clone-dialog.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useCan } from '#lib/client/session.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { clones as cloneMessages } from '#lib/i18n/messages/en/clones.ts'
import { files as fileMessages } from '#lib/i18n/messages/en/files.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import { paths } from '#lib/paths.ts'
import type { Snapshot } from '#lib/schema/snapshot.ts'
import { EditDialog } from './edit-dialog.tsx'
import { RevertDialog } from './revert-dialog.tsx'

/** One snapshot: its picture, what is in it, and what can be done with it. */
export function SnapshotDetails({ snapshot, isCurrent }: { readonly snapshot: Snapshot; readonly isCurrent: boolean }) {
  const t = useT(messages)
  const tApp = useT(app)
  const tFiles = useT(fileMessages)
  const vm = useVm()
  const canLook = useMayNotVm(vm, 'vm.snapshot') === null
  const canCreate = useCan('vm.create')
  const tClones = useT(cloneMessages)
  const seesScreen = useMayNotVm(vm, 'vm.console.view') === null
  const locale = useLocale()
  const [open, setOpen] = useState<'revert' | 'edit' | 'clone' | null>(null)
  const { mutateAsync } = useOperation('snapshotDelete')
  const { name, actions } = snapshot
  const isWritten = snapshot.kind === 'memory' && vm.live !== undefined && vm.live !== null
  const mayNotClone = canCreate ? (isWritten ? t('cloneRunning') : null) : tApp('notAllowed')
  const params = { id: snapshot.vmId, snapshotId: snapshot.id }
  const remove = () =>
    askToConfirm({
      title: t('dialog.removeTitle', { name }),
      body: t('dialog.removeBody'),
      goes: [t('dialog.removeGoes', { name })],
      stays: [t('dialog.removeStays')],
      confirmLabel: t('dialog.removeConfirm'),
      danger: true,
      run: () => mutateAsync({ input: { params } }),
    })
  return (
    <section aria-label={t('details', { name })} className="flex min-w-0 flex-col gap-3">
      {snapshot.hasScreenshot && seesScreen ? (
        // biome-ignore lint/performance/noImgElement: a small picture of our own server
        <img
          src={`/api/v1/vms/${snapshot.vmId}/snapshots/${snapshot.id}/screenshot.png`}
          alt={t('screenOf', { name })}
          className="w-full rounded-md border border-line bg-black"
        />
      ) : null}
      <h3 className="break-words text-lg">{name}</h3>
      {isCurrent && <p className="text-dim">{t('hereNote')}</p>}
      {snapshot.detail && (
        <Banner tone={snapshot.state === 'complete' ? 'info' : 'attention'}>{snapshot.detail}</Banner>
      )}
      {snapshot.note && <p className="whitespace-pre-wrap break-words">{snapshot.note}</p>}
      <Facts
        facts={[
          { label: t('facts.taken'), value: <Time at={snapshot.createdAt} /> },
          {
            label: t('facts.by'),
            value: `${snapshot.createdBy.name}${snapshot.scheduleId === null ? '' : ` (${t('facts.schedule')})`}`,
          },
          { label: t('facts.kind'), value: t(`kind.${snapshot.kind}`) },
          { label: t('facts.state'), value: t(`state.${snapshot.state}`) },
          { label: t('facts.guest'), value: t(`guest.${snapshot.runState}`) },
          { label: t('facts.files'), value: t(`consistency.${snapshot.consistency}`) },
          ...(snapshot.memoryBytes === null
            ? []
            : [{ label: t('facts.memory'), value: formatBytes(snapshot.memoryBytes, locale) }]),
          ...(snapshot.sizeBytes === null
            ? []
            : [{ label: t('facts.size'), value: formatBytes(snapshot.sizeBytes, locale) }]),
          {
            label: t('facts.disks'),
            value: snapshot.disks.map((disk) => `${disk.device} (${formatBytes(disk.sizeBytes, locale)})`).join(', '),
          },
        ]}
      />
      <div className="flex flex-wrap gap-2">
        <Button disabledReason={actions.revert.reason} onClick={() => setOpen('revert')}>
          {t('revert')}
        </Button>
        {snapshot.state === 'complete' && (
          <Button disabledReason={mayNotClone} onClick={() => setOpen('clone')}>
            {tClones('newFromTemplate')}
          </Button>
        )}
        {canLook && snapshot.state === 'complete' && (
          <ButtonLink
            href={paths.files({ vm: snapshot.vmId, snapshot: snapshot.id })}
            aria-label={tFiles('browseNamed', { name })}
          >
            {tFiles('browse')}
          </ButtonLink>
        )}
        <Button disabledReason={actions.change.reason} onClick={() => setOpen('edit')}>
          {t('edit')}
        </Button>
        <Button variant="quiet" disabledReason={actions.delete.reason} onClick={remove}>
          {t('remove')}
        </Button>
      </div>
      {open === 'revert' && <RevertDialog snapshot={snapshot} onClose={() => setOpen(null)} />}
      {open === 'clone' && <CloneDialog vm={vm} snapshot={snapshot} onClose={() => setOpen(null)} />}
      {open === 'edit' && <EditDialog snapshot={snapshot} onClose={() => setOpen(null)} />}
    </section>
  )
}
