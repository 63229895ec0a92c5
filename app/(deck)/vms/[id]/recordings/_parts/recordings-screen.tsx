'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useSearchParams } from 'next/navigation'
import { useState } from 'react'
import { hasConsole } from '#components/console/has-console.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { RecordingTable } from '#components/recording/recording-table.tsx'
import { Button } from '#components/ui/button.tsx'
import { Switch } from '#components/ui/choice.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Page, Section } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { recordingMessages } from '#lib/i18n/messages/en/recordings.ts'
import type { RecordingList } from '#lib/schema/recording.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const RecordingPlayer = dynamic(
  () => import('#components/recording/player.tsx').then((module) => module.RecordingPlayer),
  { ssr: false },
)
const RecordingSettingsDialog = dynamic(
  () => import('#components/recording/settings-dialog.tsx').then((module) => module.RecordingSettingsDialog),
  { ssr: false },
)

const KINDS = ['vnc', 'serial'] as const

/** Recordings of a VM's consoles; which one is replayed is in the URL (`?play=ID`). */
export function RecordingsScreen() {
  const t = useT(recordingMessages)
  const vm = useVm()
  const locale = useLocale()
  const { data, error, refetch } = useQuery(queries.recordings(vm.id))
  const played = useSearchParams().get('play')
  const playing = data?.items.find(({ id }) => id === played)
  const setPlayed = (id: string | null) => {
    const url = new URL(location.href)
    if (id === null) url.searchParams.delete('play')
    else url.searchParams.set('play', id)
    window.history.pushState(null, '', url)
  }
  return (
    <Page>
      {playing !== undefined && (
        <RecordingPlayer key={playing.id} recording={playing} onClose={() => setPlayed(null)} />
      )}
      <Section
        title={t('title')}
        note={
          data && (
            <span className="figures">
              {t('used', { used: formatBytes(data.usedBytes, locale), limit: formatBytes(data.limitBytes, locale) })}
            </span>
          )
        }
        actions={KINDS.map((kind) => <StartButton key={kind} vm={vm} kind={kind} />)}
      >
        <p className="max-w-prose text-dim">{t('what')}</p>
        {error && !data ? (
          <LoadError error={error} onRetry={() => void refetch()} />
        ) : data?.items.length === 0 ? (
          <EmptyState title={t('empty.title')}>{t('empty.body')}</EmptyState>
        ) : data ? (
          <RecordingTable vm={vm} items={data.items} onPlay={setPlayed} />
        ) : (
          <Skeleton className="h-10 w-full" />
        )}
      </Section>
      {data && <Rules vm={vm} list={data} />}
    </Page>
  )
}

function StartButton({ vm, kind }: { readonly vm: Vm; readonly kind: (typeof KINDS)[number] }) {
  const t = useT(recordingMessages)
  const start = useOperation('recordingStart', { onError: (cause) => toastError(cause, t('failed')) })
  const isRecorded = vm.live?.recordings.some((mark) => mark.kind === kind) ?? false
  const isMissing = kind === 'vnc' ? vm.spec.display === 'none' : !vm.spec.serial
  if (isRecorded) return null
  const refusal = !(vm.privileges?.includes('vm.console.record') ?? false)
    ? t('mayNot')
    : isMissing
      ? t(kind === 'vnc' ? 'noScreen' : 'noSerial')
      : hasConsole(vm.state)
        ? null
        : t('off')
  return (
    <Button
      size="sm"
      disabledReason={refusal}
      pending={start.isPending}
      onClick={() => start.mutate({ input: { params: { id: vm.id }, body: { kind } } })}
    >
      {t(kind === 'vnc' ? 'recordScreen' : 'recordSerial')}
    </Button>
  )
}

function Rules({ vm, list: { rule, hostRule } }: { readonly vm: Vm; readonly list: RecordingList }) {
  const t = useT(recordingMessages)
  const set = useOperation('recordingRuleSet', { onError: (cause) => toastError(cause, t('failed')) })
  const [isOpen, setOpen] = useState(false)
  const mayManage = vm.privileges?.includes('recording.manage') ?? false
  return (
    <Section
      title={t('rules')}
      note={t('rulesNote')}
      actions={
        mayManage && (
          <Button size="sm" onClick={() => setOpen(true)}>
            {t('limits')}
          </Button>
        )
      }
    >
      <div className="flex flex-wrap gap-x-8 gap-y-3">
        {KINDS.map((kind) => (
          <Switch
            key={kind}
            label={t(`always.${kind}`)}
            checked={hostRule[kind] || rule[kind]}
            disabledReason={mayManage ? (hostRule[kind] ? t('always.host') : null) : t('always.mayNot')}
            onChange={(event) =>
              mayManage && set.mutate({ input: { params: { id: vm.id }, body: { [kind]: event.target.checked } } })
            }
          />
        ))}
      </div>
      {isOpen && <RecordingSettingsDialog onClose={() => setOpen(false)} />}
    </Section>
  )
}
