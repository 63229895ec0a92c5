'use client'
import { useRouter } from 'next/navigation'
import { useEffect, useRef } from 'react'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'

/**
 * Asks before something typed is lost: when the page is left or reloaded, when a link is followed, and around whatever
 * is handed to the function it answers with.
 * @param name what was being changed
 */
export function useLeaveGuard(isDirty: boolean, name: string): (go: () => void) => void {
  const t = useT(devicesPage)
  const router = useRouter()
  const guard = (go: () => void) => {
    if (!isDirty) {
      go()
      return
    }
    askToConfirm({
      title: t('editor.leave', { name }),
      body: t('editor.leaveBody'),
      confirmLabel: t('editor.leaveConfirm'),
      run: async () => go(),
    })
  }
  const latest = useRef(guard)
  latest.current = guard
  useEffect(() => {
    if (!isDirty) return
    const unload = (event: BeforeUnloadEvent) => event.preventDefault()
    // Before the router's own listener, which would already be on its way.
    const follow = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest('a[href]') : null
      const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
      if (!(link instanceof HTMLAnchorElement) || !isPlain || link.target === '_blank') return
      const url = new URL(link.href)
      // An anchor of this page leads nowhere else.
      const isHere = url.pathname === location.pathname && url.search === location.search
      if (url.origin !== location.origin || isHere) return
      event.preventDefault()
      event.stopPropagation()
      latest.current(() => router.push(url.pathname + url.search + url.hash))
    }
    addEventListener('beforeunload', unload)
    document.addEventListener('click', follow, true)
    return () => {
      removeEventListener('beforeunload', unload)
      document.removeEventListener('click', follow, true)
    }
  }, [isDirty, router])
  return guard
}
