'use client'
import { useQuery } from '@tanstack/react-query'
import { useSearchParams } from 'next/navigation'
import { useRef, useState } from 'react'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { ConsoleFrame } from './console-bar.tsx'
import type { ConsoleTab } from './console-tab.ts'
import type { Presence } from './presence.ts'
import { SerialConsole } from './serial-console.tsx'
import { VncConsole } from './vnc-console.tsx'

/** Both consoles of a VM, one at a time, filling the space they are given. Which one is in the URL (`?tab=serial`). */
export function ConsoleView({ vm, ownWindow = false }: { readonly vm: Vm; readonly ownWindow?: boolean }) {
  const asked = useSearchParams().get('tab')
  const { data: session } = useQuery(queries.session())
  const [wantsControl, setWantsControl] = useState(true)
  const [presence, setPresence] = useState<Presence | null>(null)
  const tab: ConsoleTab =
    asked === 'serial' || asked === 'screen'
      ? asked
      : vm.spec.display === 'none' && vm.spec.serial
        ? 'serial'
        : 'screen'
  const root = useRef<HTMLDivElement>(null)
  // Which mode to ask for is not known before the role is; connecting twice would show everybody a second viewer.
  if (session === undefined) return <div className="min-h-96 flex-1 bg-screen" />
  const mayControl = (vm.privileges ?? session.privileges).includes('vm.console.control')
  const frame: ConsoleFrame = {
    vm,
    tab,
    onTab: (next) => {
      if (next === tab) return
      const url = new URL(location.href)
      url.searchParams.set('tab', next)
      window.history.pushState(null, '', url)
    },
    ownWindow,
    root,
    mode: mayControl && wantsControl ? 'control' : 'view',
    onMode: (mode) => setWantsControl(mode === 'control'),
    mayControl,
    presence,
    onNews: (news: ConsoleNews | null) => {
      if (news?.type === 'refused') showToast({ kind: 'info', title: news.message })
      else setPresence(news)
    },
  }
  return (
    <div
      ref={root}
      className="flex min-h-96 flex-1 flex-col bg-canvas peer-data-pending:mt-4 peer-data-pending:border-line peer-data-pending:border-t"
    >
      {tab === 'screen' ? <VncConsole frame={frame} /> : <SerialConsole frame={frame} />}
    </div>
  )
}
