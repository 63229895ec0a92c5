'use client'
import '@xterm/xterm/css/xterm.css'
import { type RefObject, useEffect, useRef } from 'react'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import type { LinkState } from './console-link.ts'
import { SerialSession } from './serial-session.ts'
import type { TicketSource } from './ticket-source.ts'

/** The terminal itself; one session per mount, mode and run of the guest. */
export function SerialTerminal({
  ticket,
  mode,
  isLive,
  session,
  onState,
  onNews,
  onSelection,
  onRelease,
}: {
  /** Another one is another session. */
  readonly ticket: TicketSource
  readonly mode: 'control' | 'view'
  readonly isLive: boolean
  /** Filled while the session lives, for the buttons around it. */
  readonly session: RefObject<SerialSession | null>
  readonly onState: (state: LinkState) => void
  readonly onNews: (news: ConsoleNews) => void
  readonly onSelection: (hasSelection: boolean) => void
  readonly onRelease: () => void
}) {
  const t = useT(consoleMessages)
  const target = useRef<HTMLDivElement>(null)
  const hooks = useRef({ onState, onNews, onSelection, onRelease })
  hooks.current = { onState, onNews, onSelection, onRelease }
  const skippedNotice = t('skipped')

  useEffect(() => {
    const element = target.current
    if (element === null) return
    const made = new SerialSession(element, {
      ticket,
      mode,
      skippedNotice,
      onState: (state) => hooks.current.onState(state),
      onNews: (news) => hooks.current.onNews(news),
      onSelection: (hasSelection) => hooks.current.onSelection(hasSelection),
      onRelease: () => hooks.current.onRelease(),
    })
    session.current = made
    return () => {
      session.current = null
      made.dispose()
      hooks.current.onState({ kind: 'connecting' })
      hooks.current.onSelection(false)
    }
  }, [ticket, mode, skippedNotice, session])
  useEffect(() => {
    if (isLive) session.current?.connectNow()
    else session.current?.hold()
  }, [isLive, session])

  return <div ref={target} className="absolute inset-2 bg-screen font-mono" />
}
