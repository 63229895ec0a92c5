'use client'
import { ClipboardPaste, Copy, Download, Ellipsis, Eraser } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useEffect, useMemo, useRef, useState } from 'react'
import { IconButton } from '#components/ui/button.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { showToast } from '#lib/client/toasts.ts'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import { ConsoleBar, type ConsoleFrame } from './console-bar.tsx'
import type { LinkState } from './console-link.ts'
import { hasConsole } from './has-console.ts'
import { LinkNotice, OffNotice } from './link-notice.tsx'
import { heldByOther } from './presence.ts'
import { saveBlob } from './save-blob.ts'
import type { SerialSession } from './serial-session.ts'
import { ticketOf } from './ticket-source.ts'

/** xterm.js needs a document; it is loaded when the tab is first opened. */
const SerialTerminal = dynamic(() => import('./serial-terminal.tsx').then((m) => m.SerialTerminal), { ssr: false })

/** The guest's first serial port with its bar. What was shown stays readable after the guest stopped. */
export function SerialConsole({ frame }: { readonly frame: ConsoleFrame }) {
  const t = useT(consoleMessages)
  const { vm, mode, root } = frame
  const session = useRef<SerialSession | null>(null)
  const [link, setLink] = useState<LinkState>({ kind: 'connecting' })
  const [hasSelection, setHasSelection] = useState(false)
  const [hasKeyboard, setHasKeyboard] = useState(false)
  const [wasLive, setWasLive] = useState(false)
  const isLive = hasConsole(vm.state)
  if (isLive && !wasLive) setWasLive(true)
  const holder = heldByOther(frame.presence)
  const isHeld = holder !== null
  const cannotSend =
    mode === 'view'
      ? t('viewOnly')
      : holder !== null
        ? t('heldBy', { name: holder.name })
        : isLive && link.kind === 'connected'
          ? null
          : t('type.needsLink')
  const ticket = useMemo(() => ticketOf(vm.id, 'serial', mode), [vm.id, mode])
  useEffect(() => session.current?.setHeldByOther(isHeld), [isHeld])

  const refused = () => showToast({ kind: 'info', title: t('clipboardRefused') })
  // Absent where the page is not a secure context.
  const clipboard = () => (typeof navigator === 'undefined' ? undefined : navigator.clipboard)
  const copy = async () => {
    try {
      await clipboard()?.writeText(session.current?.selection ?? '')
      if (clipboard() === undefined) refused()
    } catch {
      refused()
    }
  }
  const paste = async () => {
    try {
      const text = await clipboard()?.readText()
      if (text === undefined) refused()
      else session.current?.paste(text)
      session.current?.focus()
    } catch {
      refused()
    }
  }

  return (
    <>
      <ConsoleBar frame={frame} hasKeyboard={hasKeyboard} onWish={(wish) => session.current?.wish(wish)}>
        <IconButton
          label={t('copy')}
          disabledReason={hasSelection ? null : t('nothingSelected')}
          onClick={() => void copy()}
        >
          <Copy size={16} aria-hidden="true" />
        </IconButton>
        <IconButton label={t('paste')} disabledReason={cannotSend} onClick={() => void paste()}>
          <ClipboardPaste size={16} aria-hidden="true" />
        </IconButton>
        <IconButton label={t('clear')} onClick={() => session.current?.clear()}>
          <Eraser size={16} aria-hidden="true" />
        </IconButton>
        <IconButton
          label={t('download')}
          onClick={() => {
            const log = session.current?.log
            if (log) saveBlob(log.toBlob(), `${vm.name}-serial.log`)
          }}
        >
          <Download size={16} aria-hidden="true" />
        </IconButton>
        <Menu
          label={t('more')}
          iconOnly
          items={[
            {
              id: 'size',
              label: t('tellSize'),
              disabledReason: cannotSend,
              onSelect: () => {
                session.current?.sendText(`${session.current.sizeCommand}\r`)
                session.current?.focus()
              },
            },
          ]}
        >
          <Ellipsis size={16} aria-hidden="true" />
        </Menu>
      </ConsoleBar>
      <section
        aria-label={t('terminal', { name: vm.name })}
        data-takes-keys
        data-state={isLive ? link.kind : 'off'}
        className="relative min-h-64 flex-1 overflow-hidden bg-screen"
        onFocus={(event) => setHasKeyboard(event.target instanceof HTMLTextAreaElement)}
        onBlur={() => setHasKeyboard(false)}
      >
        {wasLive && (
          <SerialTerminal
            ticket={ticket}
            mode={mode}
            isLive={isLive}
            session={session}
            onState={(state) => {
              setLink(state)
              if (state.kind !== 'connected') frame.onNews(null)
            }}
            onNews={frame.onNews}
            onSelection={setHasSelection}
            onRelease={() => root.current?.querySelector<HTMLElement>('[role=toolbar] button')?.focus()}
          />
        )}
        {isLive ? <LinkNotice state={link} onConnect={() => session.current?.connectNow()} /> : <OffNotice vm={vm} />}
      </section>
    </>
  )
}
