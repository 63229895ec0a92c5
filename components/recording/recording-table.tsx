'use client'
import { EllipsisVertical } from 'lucide-react'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { operationUrl } from '#lib/client/api-client.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { formatAbsolute, formatBytes } from '#lib/i18n/format.ts'
import { recordingMessages } from '#lib/i18n/messages/en/recordings.ts'
import { clockText } from '#lib/recording/replay-clock.ts'
import type { Recording } from '#lib/schema/recording.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Recordings of one VM, newest first; at phone width each is a block of its own. */
export function RecordingTable({
  vm,
  items,
  onPlay,
}: {
  readonly vm: Vm
  readonly items: readonly Recording[]
  readonly onPlay: (id: string) => void
}) {
  const t = useT(recordingMessages)
  return (
    <table className="-mt-3 w-full table-fixed max-md:block">
      <thead className="text-dim text-sm max-md:sr-only">
        <tr className="h-8 border-line border-b">
          <th scope="col" className="w-48">
            {t('started')}
          </th>
          <th scope="col" className="w-32 px-2">
            {t('console')}
          </th>
          <th scope="col" className="w-24 px-2">
            {t('length')}
          </th>
          <th scope="col" className="w-24 px-2">
            {t('size')}
          </th>
          <th scope="col" className="px-2">
            {t('state')}
          </th>
          <th scope="col" className="w-32">
            <span className="sr-only">{t('actions')}</span>
          </th>
        </tr>
      </thead>
      <tbody className="max-md:block">
        {items.map((recording) => (
          <RecordingRow key={recording.id} vm={vm} recording={recording} onPlay={onPlay} />
        ))}
      </tbody>
    </table>
  )
}

function RecordingRow({
  vm,
  recording,
  onPlay,
}: {
  readonly vm: Vm
  readonly recording: Recording
  readonly onPlay: (id: string) => void
}) {
  const t = useT(recordingMessages)
  const locale = useLocale()
  const remove = useOperation('recordingDelete')
  const stop = useOperation('recordingStop', { onError: (error) => toastError(error, t('failed')) })
  const { id, vmId, kind, state } = recording
  const params = { id: vmId, recording: id }
  const when = formatAbsolute(recording.startedAt, locale)
  const size = formatBytes(recording.sizeBytes, locale)
  const isRecording = state === 'recording'
  const mayNot = mayNotEnd(vm, recording, t)
  const confirmRemove = () =>
    askToConfirm({
      title: t('removeTitle', { when }),
      goes: [t('removeGoes', { console: t(kind === 'vnc' ? 'screen' : 'serial'), name: vm.name, size })],
      confirmLabel: t('removeNow'),
      danger: true,
      run: async () => {
        await remove.mutateAsync({ input: { params } })
        showToast({ kind: 'done', title: t('removed') })
      },
    })
  return (
    <tr className="border-line border-b align-top max-md:block max-md:py-2">
      <td className="py-2 max-md:block max-md:py-0">
        <Time at={recording.startedAt} />
        <p className="break-words text-dim text-sm">{t('by', { name: recording.by })}</p>
      </td>
      <td className="px-2 py-2 max-md:block max-md:px-0 max-md:py-0">{t(kind === 'vnc' ? 'screen' : 'serial')}</td>
      <td className="figures px-2 py-2 max-md:block max-md:px-0 max-md:py-0">{clockText(recording.durationMs)}</td>
      <td className="figures px-2 py-2 max-md:block max-md:px-0 max-md:py-0">{size}</td>
      <td className="px-2 py-2 max-md:block max-md:px-0 max-md:py-0">
        <p className="flex items-start gap-1.5">
          <MarkIcon mark={MARK[state]} className="mt-1 size-3" />
          <span className="min-w-0">
            {t(state)}
            {recording.reason !== null && <span className="block text-dim text-sm">{recording.reason}</span>}
            {recording.expiresAt !== null && (
              <span className="block text-faint text-sm">
                {t.rich('until', { time: () => <Time key="time" at={recording.expiresAt ?? ''} /> })}
              </span>
            )}
          </span>
        </p>
      </td>
      <td className="py-1 text-end max-md:block max-md:text-start">
        <span className="inline-flex items-center gap-1">
          <Button size="sm" onClick={() => onPlay(id)}>
            {t('replay')}
          </Button>
          <Menu
            label={t('actionsOf', { when })}
            iconOnly
            variant="quiet"
            size="sm"
            items={[
              {
                id: 'save',
                label: t('save'),
                onSelect: () => location.assign(operationUrl('recordingContent', { params })),
              },
              ...(isRecording
                ? [
                    {
                      id: 'stop',
                      label: t('stop'),
                      disabledReason: mayNot,
                      onSelect: () => stop.mutate({ input: { params } }),
                    },
                  ]
                : []),
              { kind: 'separator' as const, id: 'line' },
              {
                id: 'delete',
                label: t('remove'),
                danger: true,
                disabledReason: mayNot ?? (isRecording ? t('removeFirst') : null),
                onSelect: confirmRemove,
              },
            ]}
          >
            <EllipsisVertical size={16} aria-hidden="true" />
          </Menu>
        </span>
      </td>
    </tr>
  )
}

const MARK = { recording: 'changing', complete: 'running', incomplete: 'attention' } as const

/** Why somebody may not end or delete it; null: they may. */
export function mayNotEnd(
  vm: Vm,
  { always }: Pick<Recording, 'always'>,
  t: ReturnType<typeof useT<typeof recordingMessages.messages>>,
): string | null {
  if (!(vm.privileges?.includes('vm.console.record') ?? false)) return t('mayNot')
  return always && !(vm.privileges?.includes('recording.manage') ?? false) ? t('byRule') : null
}
