'use client'
import dynamic from 'next/dynamic'
import { type ReactNode, useCallback, useState } from 'react'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { ConfirmHost } from '../../_parts/confirm-host.tsx'
import { EventBridge } from '../../_parts/event-bridge.tsx'
import { SessionGate } from '../../_parts/session-gate.tsx'
import { Toasts } from '../../_parts/toasts.tsx'
import { ConnectionBanner } from './connection-banner.tsx'
import { BottomBar, SideNav } from './side-nav.tsx'
import { TopBar } from './top-bar.tsx'
import { useShortcuts } from './use-shortcuts.ts'

const Palette = dynamic(() => import('./palette.tsx').then((m) => m.Palette), { ssr: false })
const ShortcutHelp = dynamic(() => import('./shortcut-help.tsx').then((m) => m.ShortcutHelp), { ssr: false })

/** The frame of every signed-in page. */
export function Shell({ children }: { readonly children: ReactNode }) {
  const t = useT(app)
  const [panel, setPanel] = useState<'palette' | 'help' | null>(null)
  const openPalette = useCallback(() => setPanel('palette'), [])
  const openHelp = useCallback(() => setPanel('help'), [])
  const close = useCallback(() => setPanel(null), [])
  useShortcuts({ openPalette, openHelp })
  return (
    <>
      <a
        href="#content"
        className="fixed start-2 top-2 z-50 -translate-y-16 rounded-md bg-accent-fill px-3 py-2 text-on-accent focus:translate-y-0"
      >
        {t('skip')}
      </a>
      <div className="flex min-h-dvh flex-col">
        <TopBar onSearch={openPalette} onHelp={openHelp} />
        <div className="flex min-h-0 flex-1">
          <SideNav />
          <main id="content" tabIndex={-1} className="flex min-w-0 flex-1 flex-col pb-14 md:pb-0">
            <ConnectionBanner />
            <SessionGate>{children}</SessionGate>
          </main>
        </div>
        <BottomBar />
      </div>
      <EventBridge />
      <Toasts />
      <ConfirmHost />
      {panel === 'palette' && <Palette onClose={close} onHelp={openHelp} />}
      {panel === 'help' && <ShortcutHelp onClose={close} />}
    </>
  )
}
