'use client'
import { Circle, Ellipsis } from 'lucide-react'
import { useState } from 'react'
import { Elapsed } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { toastError } from '#lib/client/toasts.ts'
import { presenceMessages } from '#lib/i18n/messages/en/presence.ts'
import type { ConsoleViewer, RecordingMark } from '#lib/schema/console.ts'
import type { VmId } from '#lib/schema/ids.ts'
import { EndViewerDialog } from './end-viewer-dialog.tsx'
import { heldByOther, holderOf, type Presence, type Wish, yourself } from './presence.ts'

/** Who is at the console, who has control, and what can be done about both; of one line as long as it fits. */
export function PeopleStrip({
  vm,
  presence,
  onWish,
}: {
  /** Null for guests, who end nobody. */
  readonly vm: { readonly id: VmId } | null
  readonly presence: Presence | null
  readonly onWish: (wish: Wish) => void
}) {
  const t = useT(presenceMessages)
  const you = yourself(presence)
  const kind = you?.kind
  return (
    <section
      aria-label={t('title')}
      className="flex min-h-8 flex-wrap items-center gap-x-3 gap-y-1 border-line border-b bg-surface px-3 py-0.5 text-sm"
    >
      {presence?.recordings.map((mark) => (
        <RecordingNote key={mark.id} mark={mark} />
      ))}
      <ul aria-label={t('title')} className="flex min-w-0 flex-wrap items-center gap-x-3 gap-y-1">
        {presence?.viewers.map((viewer) => (
          <Person
            key={viewer.id}
            vm={vm}
            viewer={viewer}
            isYou={viewer.id === presence.you}
            elsewhere={viewer.kind !== kind}
            manages={presence.manages}
          />
        ))}
      </ul>
      {presence && you && <ControlTools presence={presence} you={you} onWish={onWish} />}
    </section>
  )
}

export function RecordingNote({ mark }: { readonly mark: RecordingMark }) {
  const t = useT(presenceMessages)
  return (
    <span className="inline-flex items-center gap-1.5 font-medium text-crashed">
      <Circle size={10} fill="currentColor" aria-hidden="true" />
      <span>
        {t.rich(
          mark.kind === 'vnc' ? 'recordedScreen' : 'recordedSerial',
          { time: () => <Elapsed key="time" since={mark.since} /> },
          { name: mark.by },
        )}
      </span>
    </span>
  )
}

/** Their name, and behind it what whoever manages the console can do. */
export function Person({
  vm,
  viewer,
  isYou,
  elsewhere,
  manages,
}: {
  readonly vm: { readonly id: VmId } | null
  readonly viewer: ConsoleViewer
  readonly isYou: boolean
  /** At the other console of the VM. */
  readonly elsewhere: boolean
  readonly manages: boolean
}) {
  const t = useT(presenceMessages)
  const [isEnding, setEnding] = useState(false)
  const give = useOperation('vmViewerControl', { onError: (cause) => toastError(cause, t('failed')) })
  const { name } = viewer
  const shown = viewer.guest
    ? isYou
      ? t('guestYou', { name })
      : t('guest', { name })
    : isYou
      ? t('you', { name })
      : name
  return (
    <li className="inline-flex min-w-0 items-center gap-1.5">
      <span className="min-w-0 truncate font-medium">{shown}</span>
      {viewer.holds ? <Badge tone="accent">{t('holds')}</Badge> : <span className="text-faint">{t(viewer.mode)}</span>}
      {elsewhere && <Badge>{t(viewer.kind === 'serial' ? 'onSerial' : 'onScreen')}</Badge>}
      {vm !== null && manages && !isYou && (
        <Menu
          label={t('more', { name: shown })}
          iconOnly
          size="sm"
          items={[
            {
              id: 'give',
              label: t('give', { name: shown }),
              disabledReason: viewer.mode === 'control' ? null : t('cannotGive', { name: shown }),
              onSelect: () => give.mutate({ input: { params: { id: vm.id, viewer: viewer.id } } }),
            },
            { id: 'end', label: t('end'), danger: true, onSelect: () => setEnding(true) },
          ]}
        >
          <Ellipsis size={14} aria-hidden="true" />
        </Menu>
      )}
      {vm !== null && isEnding && (
        <EndViewerDialog vmId={vm.id} viewer={viewer} name={shown} onClose={() => setEnding(false)} />
      )}
    </li>
  )
}

/** Sole control: taking, asking for, handing over. Nothing for who may only watch. */
function ControlTools({
  presence,
  you,
  onWish,
}: {
  readonly presence: Presence
  readonly you: ConsoleViewer
  readonly onWish: (wish: Wish) => void
}) {
  const t = useT(presenceMessages)
  const holder = holderOf(presence)
  const other = heldByOther(presence)
  const here = presence.viewers.filter(({ kind }) => kind === you.kind)
  const decides = holder !== null && (holder.id === you.id || presence.manages)
  const asking = decides ? here.filter(({ asksSince, id }) => asksSince !== null && id !== you.id) : []
  const mayControl = you.mode === 'control'
  if (!mayControl && !(presence.manages && holder !== null)) return null
  return (
    <span className="ms-auto inline-flex flex-wrap items-center justify-end gap-x-2 gap-y-1">
      <span role="status" className="contents">
        {asking.map((viewer) => (
          <span key={viewer.id} className="inline-flex items-center gap-1.5">
            <span>{t('asks', { name: viewer.name })}</span>
            <Button size="sm" variant="primary" onClick={() => onWish({ do: 'give', to: viewer.id })}>
              {t('handOver')}
            </Button>
            <Button size="sm" onClick={() => onWish({ do: 'decline', to: viewer.id })}>
              {t('decline')}
            </Button>
          </span>
        ))}
        {other !== null && you.asksSince !== null && (
          <span className="text-dim">{t('asking', { name: other.name })}</span>
        )}
      </span>
      {mayControl && holder === null && here.length > 1 && (
        <Button size="sm" data-tip={t('holdTip')} onClick={() => onWish({ do: 'hold' })}>
          {t('hold')}
        </Button>
      )}
      {other !== null && mayControl && !presence.manages && (
        <Button size="sm" onClick={() => onWish({ do: you.asksSince === null ? 'ask' : 'withdraw' })}>
          {t(you.asksSince === null ? 'ask' : 'withdraw')}
        </Button>
      )}
      {other !== null && mayControl && presence.manages && (
        <>
          {you.asksSince === null ? (
            <Button size="sm" onClick={() => onWish({ do: 'ask' })}>
              {t('ask')}
            </Button>
          ) : (
            <Button size="sm" onClick={() => onWish({ do: 'withdraw' })}>
              {t('withdraw')}
            </Button>
          )}
          <Button size="sm" onClick={() => onWish({ do: 'take' })}>
            {t('take')}
          </Button>
        </>
      )}
      {holder !== null && decides && (
        <Button size="sm" onClick={() => onWish({ do: 'release' })}>
          {t('release')}
        </Button>
      )}
    </span>
  )
}
