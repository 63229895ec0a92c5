'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox, RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { ChangeLine } from '#components/vm/change-line.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import type { Snapshot } from '#lib/schema/snapshot.ts'

/** Says what is lost and what comes back, and offers to keep the present first. */
export function RevertDialog({ snapshot, onClose }: { readonly snapshot: Snapshot; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const params = { id: snapshot.vmId, snapshotId: snapshot.id }
  const { data } = useQuery({ ...queries.snapshotCompare(snapshot.vmId, snapshot.id), staleTime: 0 })
  const [definition, setDefinition] = useState<'restore' | 'keep'>('restore')
  const [keepPresent, setKeepPresent] = useState(false)
  const [start, setStart] = useState(false)
  const revert = useOperation('snapshotRevert', { onSuccess: onClose })
  const hasMemory = snapshot.memoryBytes !== null
  return (
    <Dialog
      title={t('dialog.revertTitle', { name: snapshot.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={revert.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            variant="danger"
            pending={revert.isPending}
            onClick={() => revert.mutate({ input: { params, body: { definition, keepPresent, start } } })}
          >
            {t('revert')}
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-4">
        {revert.error && (
          <div role="alert">
            <Banner tone="error">{revert.error.message}</Banner>
          </div>
        )}
        {data === undefined ? (
          <Skeleton className="h-24 w-full" />
        ) : (
          <>
            <Lines title={t('dialog.loses')} lines={data.loses} />
            <Lines title={t('dialog.stays')} lines={data.stays} />
            {data.changes.length === 0 ? (
              <p className="text-dim">{t('dialog.noChanges')}</p>
            ) : (
              <div>
                <p className="font-medium">{t('dialog.changes', { count: data.changes.length })}</p>
                <ul className="mt-1 flex flex-col gap-1 text-sm">
                  {data.changes.map((change) => (
                    <li key={change.path}>
                      <ChangeLine change={change} />
                    </li>
                  ))}
                </ul>
                {hasMemory && <p className="mt-1 text-faint text-sm">{t('dialog.memoryNeeds')}</p>}
              </div>
            )}
            {!hasMemory && data.changes.length > 0 && (
              <RadioCards
                legend={t('dialog.definition')}
                name="definition"
                value={definition}
                onValue={setDefinition}
                options={(['restore', 'keep'] as const).map((value) => ({ value, label: t(`dialog.${value}`) }))}
              />
            )}
          </>
        )}
        <Checkbox
          label={t('dialog.keepPresent')}
          checked={keepPresent}
          onChange={(event) => setKeepPresent(event.target.checked)}
        />
        {!hasMemory && (
          <Checkbox label={t('dialog.start')} checked={start} onChange={(event) => setStart(event.target.checked)} />
        )}
      </div>
    </Dialog>
  )
}

function Lines({ title, lines }: { readonly title: string; readonly lines: readonly string[] }) {
  return (
    <div>
      <p className="font-medium">{title}</p>
      <ul className="ms-4 list-disc text-dim">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </div>
  )
}
