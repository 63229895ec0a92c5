import type { ReactNode } from 'react'
import { ConfirmHost } from '../_parts/confirm-host.tsx'
import { EventBridge } from '../_parts/event-bridge.tsx'
import { SessionGate } from '../_parts/session-gate.tsx'
import { Toasts } from '../_parts/toasts.tsx'

/** A window of its own: no navigation, but the same sign-in, events and messages as the deck. */
export default function WindowLayout({ children }: { readonly children: ReactNode }) {
  return (
    <>
      <main className="flex h-dvh flex-col">
        <SessionGate>{children}</SessionGate>
      </main>
      <EventBridge />
      <Toasts />
      <ConfirmHost />
    </>
  )
}
