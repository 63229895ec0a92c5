'use client'
import dynamic from 'next/dynamic'
import { useEffect, useRef, useState } from 'react'
import { Badge } from '#components/ui/badge.tsx'
import { Kbd } from '#components/ui/kbd.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { showToast } from '#lib/client/toasts.ts'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import { guestLinkMessages } from '#lib/i18n/messages/en/guest-links.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import type { LinkState } from './console-link.ts'
import { FullScreenButton } from './full-screen-button.tsx'
import { KeyMenu } from './key-menu.tsx'
import { LinkNotice } from './link-notice.tsx'
import { PeopleStrip } from './people-strip.tsx'
import { heldByOther, type Presence, type Wish } from './presence.ts'
import { isReleaseKey } from './release-key.ts'
import type { SerialSession } from './serial-session.ts'
import type { TicketSource } from './ticket-source.ts'
import { VncSession } from './vnc-session.ts'

const SerialTerminal = dynamic(() => import('./serial-terminal.tsx').then((m) => m.SerialTerminal), { ssr: false })

interface About {
  readonly kind: 'vnc' | 'serial'
  readonly mode: 'control' | 'view'
  readonly name: string
  readonly label: string
}

/** One console for somebody without an account: the picture, who is there, and little else. */
export function GuestStage({ about, ticket }: { readonly about: About; readonly ticket: TicketSource }) {
  const t = useT(consoleMessages)
  const tGuest = useT(guestLinkMessages)
  const { kind, mode, name, label } = about
  const root = useRef<HTMLDivElement>(null)
  const screen = useRef<VncSession | null>(null)
  const serial = useRef<SerialSession | null>(null)
  const [link, setLink] = useState<LinkState>({ kind: 'connecting' })
  const [presence, setPresence] = useState<Presence | null>(null)
  const [hasKeyboard, setHasKeyboard] = useState(false)
  const holder = heldByOther(presence)
  const isHeld = holder !== null
  const session = () => (kind === 'vnc' ? screen.current : serial.current)
  const cannotSend =
    mode === 'view'
      ? t('viewOnly')
      : holder !== null
        ? t('heldBy', { name: holder.name })
        : link.kind === 'connected'
          ? null
          : t('type.needsLink')
  const onNews = (news: ConsoleNews) => {
    if (news.type === 'refused') showToast({ kind: 'info', title: news.message })
    else setPresence(news)
  }
  const onState = (state: LinkState) => {
    setLink(state)
    if (state.kind !== 'connected') setPresence(null)
  }
  const hooks = useRef({ onNews, onState })
  hooks.current = { onNews, onState }
  useEffect(() => {
    screen.current?.setHeldByOther(isHeld)
    serial.current?.setHeldByOther(isHeld)
  }, [isHeld])
  const release = () => root.current?.querySelector<HTMLElement>('[role=toolbar] button')?.focus()
  return (
    <div ref={root} className="flex min-h-0 flex-1 flex-col bg-canvas">
      <div
        role="toolbar"
        aria-label={t('tools')}
        className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-b bg-surface px-3 py-1"
      >
        <h1 className="min-w-0 truncate font-medium text-base">{name}</h1>
        <Badge tone={mode === 'control' ? 'accent' : 'plain'}>{tGuest(`guest.${mode}`)}</Badge>
        <span className="min-w-0 truncate text-faint text-sm">{tGuest('guest.as', { label })}</span>
        <p className="min-w-0 flex-1 basis-0 truncate text-end text-faint text-sm">
          {hasKeyboard &&
            cannotSend === null &&
            t.rich('keysToGuest', { keys: () => <Kbd key="keys">{t('release')}</Kbd> })}
        </p>
        {kind === 'vnc' && mode === 'control' && (
          <KeyMenu
            disabledReason={cannotSend}
            onChord={(codes) => {
              screen.current?.sendChord(codes)
              screen.current?.focus()
            }}
          />
        )}
        <FullScreenButton root={root} />
      </div>
      <PeopleStrip vm={null} presence={presence} onWish={(wish: Wish) => session()?.wish(wish)} />
      <section
        aria-label={t(kind === 'vnc' ? 'stage' : 'terminal', { name })}
        data-takes-keys
        data-state={link.kind}
        className="relative min-h-64 flex-1 overflow-hidden bg-screen"
        onFocus={(event) =>
          setHasKeyboard(event.target instanceof HTMLCanvasElement || event.target instanceof HTMLTextAreaElement)
        }
        onBlur={() => {
          setHasKeyboard(false)
          screen.current?.releaseModifiers()
        }}
        onKeyUpCapture={(event) => screen.current?.noteKey(event.code, false)}
        onKeyDownCapture={(event) => {
          if (kind !== 'vnc') return
          if (!isReleaseKey(event.nativeEvent)) {
            if (event.target instanceof HTMLCanvasElement) screen.current?.noteKey(event.code, true)
            return
          }
          event.preventDefault()
          event.stopPropagation()
          screen.current?.releaseModifiers()
          release()
        }}
      >
        {kind === 'vnc' ? (
          <ScreenTarget ticket={ticket} mode={mode} session={screen} hooks={hooks} />
        ) : (
          <SerialTerminal
            ticket={ticket}
            mode={mode}
            isLive
            session={serial}
            onState={onState}
            onNews={onNews}
            onSelection={() => {}}
            onRelease={release}
          />
        )}
        <LinkNotice state={link} onConnect={() => session()?.connectNow()} guest />
      </section>
    </div>
  )
}

function ScreenTarget({
  ticket,
  mode,
  session,
  hooks,
}: {
  readonly ticket: TicketSource
  readonly mode: 'control' | 'view'
  readonly session: { current: VncSession | null }
  readonly hooks: {
    readonly current: { onNews: (news: ConsoleNews) => void; onState: (state: LinkState) => void }
  }
}) {
  const target = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = target.current
    if (element === null) return
    const made = new VncSession(element, {
      ticket,
      mode,
      scale: 'fit',
      onState: (state) => hooks.current.onState(state),
      onNews: (news) => hooks.current.onNews(news),
      onPicture: () => {},
      onClipboard: () => {},
    })
    session.current = made
    return () => {
      session.current = null
      made.dispose()
    }
  }, [ticket, mode, session, hooks])
  return <div ref={target} className="absolute inset-0" />
}
