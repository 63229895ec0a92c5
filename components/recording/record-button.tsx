'use client'
import { Circle, Square } from 'lucide-react'
import { hasConsole } from '#components/console/has-console.ts'
import { IconButton } from '#components/ui/button.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { recordingMessages } from '#lib/i18n/messages/en/recordings.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Begins or ends the recording of the console that is shown. */
export function RecordButton({ vm, kind }: { readonly vm: Vm; readonly kind: 'vnc' | 'serial' }) {
  const t = useT(recordingMessages)
  const onError = (error: Parameters<typeof toastError>[0]) => toastError(error, t('failed'))
  const start = useOperation('recordingStart', {
    onError,
    onSuccess: () => showToast({ kind: 'done', title: t('begun') }),
  })
  const stop = useOperation('recordingStop', { onError })
  const mark = vm.live?.recordings.find((recording) => recording.kind === kind)
  const refusal = !(vm.privileges?.includes('vm.console.record') ?? false)
    ? t('mayNot')
    : hasConsole(vm.state)
      ? null
      : t('off')
  const isScreen = kind === 'vnc'
  return mark === undefined ? (
    <IconButton
      label={t(isScreen ? 'recordScreen' : 'recordSerial')}
      disabledReason={refusal}
      pending={start.isPending}
      onClick={() => start.mutate({ input: { params: { id: vm.id }, body: { kind } } })}
    >
      <Circle size={16} aria-hidden="true" />
    </IconButton>
  ) : (
    <IconButton
      label={t(isScreen ? 'stopScreen' : 'stopSerial')}
      disabledReason={refusal}
      pending={stop.isPending}
      onClick={() => stop.mutate({ input: { params: { id: vm.id, recording: mark.id } } })}
    >
      <Square size={16} aria-hidden="true" className="fill-crashed text-crashed" />
    </IconButton>
  )
}
