'use client'
import { Camera, ClipboardPaste, Maximize, Minimize2, Type } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import { ClipboardDialog } from './clipboard-dialog.tsx'
import { ConsoleBar, type ConsoleFrame } from './console-bar.tsx'
import type { LinkState } from './console-link.ts'
import { hasConsole } from './has-console.ts'
import { KeyMenu } from './key-menu.tsx'
import { LinkNotice, OffNotice } from './link-notice.tsx'
import { heldByOther } from './presence.ts'
import { isReleaseKey } from './release-key.ts'
import { saveBlob } from './save-blob.ts'
import { ticketOf } from './ticket-source.ts'
import { TypeTextDialog } from './type-text-dialog.tsx'
import { type Scale, VncSession } from './vnc-session.ts'

/** The guest's screen with its bar. The last picture stays, dimmed, while there is no connection. */
export function VncConsole({ frame }: { readonly frame: ConsoleFrame }) {
  const t = useT(consoleMessages)
  const { vm, mode, root } = frame
  const target = useRef<HTMLDivElement>(null)
  const session = useRef<VncSession | null>(null)
  const [link, setLink] = useState<LinkState>({ kind: 'connecting' })
  const [picture, setPicture] = useState<string | null>(null)
  const [scale, setScale] = useState<Scale>('fit')
  const [hasKeyboard, setHasKeyboard] = useState(false)
  const [isTypingOpen, setTypingOpen] = useState(false)
  const [isClipboardOpen, setClipboardOpen] = useState(false)
  const [guestText, setGuestText] = useState<string | null>(null)
  const isLive = hasConsole(vm.state)
  const { id } = vm
  const scaleNow = useRef(scale)
  const onNews = useRef(frame.onNews)
  onNews.current = frame.onNews
  const holder = heldByOther(frame.presence)
  const isHeld = holder !== null

  useEffect(() => {
    const element = target.current
    if (!isLive || element === null) return
    const made = new VncSession(element, {
      ticket: ticketOf(id, 'vnc', mode),
      mode,
      scale: scaleNow.current,
      onState: (state) => {
        setLink(state)
        if (state.kind !== 'connected') onNews.current(null)
      },
      onNews: (news) => onNews.current(news),
      onPicture: (blob) => setPicture(URL.createObjectURL(blob)),
      onClipboard: setGuestText,
    })
    session.current = made
    return () => {
      session.current = null
      made.dispose()
      setLink({ kind: 'connecting' })
      setHasKeyboard(false)
      setGuestText(null)
      onNews.current(null)
    }
  }, [id, mode, isLive])
  useEffect(() => {
    scaleNow.current = scale
    session.current?.setScale(scale)
  }, [scale])
  useEffect(() => session.current?.setHeldByOther(isHeld), [isHeld])
  useEffect(() => () => void (picture !== null && URL.revokeObjectURL(picture)), [picture])

  const isConnected = isLive && link.kind === 'connected'
  const cannotSend =
    mode === 'view'
      ? t('viewOnly')
      : holder !== null
        ? t('heldBy', { name: holder.name })
        : isConnected
          ? null
          : t('type.needsLink')

  const noClipboard = !vm.spec.clipboard
    ? t('clipboard.off')
    : vm.pending.some((change) => change.path === '/clipboard')
      ? t('clipboard.pending')
      : cannotSend

  const takeScreenshot = async () => {
    const blob = await session.current?.picture()
    if (blob) saveBlob(blob, `${vm.name}-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.png`)
  }

  return (
    <>
      <ConsoleBar frame={frame} hasKeyboard={hasKeyboard} onWish={(wish) => session.current?.wish(wish)}>
        <KeyMenu
          disabledReason={cannotSend}
          onChord={(codes) => {
            session.current?.sendChord(codes)
            session.current?.focus()
          }}
        />
        <Button
          variant="quiet"
          icon={<Type size={16} aria-hidden="true" />}
          disabledReason={cannotSend}
          onClick={() => setTypingOpen(true)}
        >
          <span className="max-sm:sr-only">{t('type.open')}</span>
        </Button>
        <IconButton label={t('clipboard.open')} disabledReason={noClipboard} onClick={() => setClipboardOpen(true)}>
          <ClipboardPaste size={16} aria-hidden="true" />
        </IconButton>
        <IconButton
          label={t('screenshot')}
          disabledReason={isConnected ? null : t('noPicture')}
          onClick={() => void takeScreenshot()}
        >
          <Camera size={16} aria-hidden="true" />
        </IconButton>
        <IconButton
          label={scale === 'fit' ? t('actualSize') : t('fit')}
          onClick={() => setScale(scale === 'fit' ? 'actual' : 'fit')}
        >
          {scale === 'fit' ? <Maximize size={16} aria-hidden="true" /> : <Minimize2 size={16} aria-hidden="true" />}
        </IconButton>
      </ConsoleBar>
      <section
        aria-label={t('stage', { name: vm.name })}
        data-takes-keys
        data-state={isLive ? link.kind : 'off'}
        className={cx(
          'relative min-h-64 flex-1 overflow-hidden bg-screen',
          hasKeyboard &&
            'after:pointer-events-none after:absolute after:inset-0 after:border-2 after:border-focus after:content-[""]',
        )}
        onFocus={(event) => setHasKeyboard(event.target instanceof HTMLCanvasElement)}
        onBlur={() => {
          setHasKeyboard(false)
          session.current?.releaseModifiers()
        }}
        onKeyUpCapture={(event) => session.current?.noteKey(event.code, false)}
        onKeyDownCapture={(event) => {
          if (!isReleaseKey(event.nativeEvent)) {
            if (event.target instanceof HTMLCanvasElement) session.current?.noteKey(event.code, true)
            return
          }
          event.preventDefault()
          event.stopPropagation()
          session.current?.releaseModifiers()
          root.current?.querySelector<HTMLElement>('[role=toolbar] button')?.focus()
        }}
      >
        {picture !== null && !isConnected && (
          // biome-ignore lint/performance/noImgElement: an object URL of the moment the connection ended
          <img
            src={picture}
            alt=""
            className={cx(
              'absolute inset-0 h-full w-full opacity-35 grayscale',
              scale === 'fit' ? 'object-contain' : 'object-none',
            )}
          />
        )}
        <div ref={target} className={cx('absolute inset-0', !isConnected && 'invisible')} />
        {isLive ? <LinkNotice state={link} onConnect={() => session.current?.connectNow()} /> : <OffNotice vm={vm} />}
        {isConnected && cannotSend === null && !hasKeyboard && (
          <button
            type="button"
            className="sr-only focus:not-sr-only focus:absolute focus:start-3 focus:top-3 focus:z-10 focus:rounded-md focus:bg-raised focus:px-3 focus:py-2"
            onClick={() => session.current?.focus()}
          >
            {t('giveKeyboard')}
          </button>
        )}
      </section>
      {isClipboardOpen && (
        <ClipboardDialog
          vmName={vm.name}
          guestText={guestText}
          disabledReason={noClipboard}
          onSend={(text) => session.current?.setClipboard(text)}
          onClose={() => setClipboardOpen(false)}
        />
      )}
      {isTypingOpen && (
        <TypeTextDialog
          vmId={vm.id}
          vmName={vm.name}
          disabledReason={cannotSend}
          type={(strokes, options) => session.current?.type(strokes, options) ?? Promise.resolve(0)}
          onClose={() => setTypingOpen(false)}
        />
      )}
    </>
  )
}
