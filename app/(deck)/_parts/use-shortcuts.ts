'use client'
import { useRouter } from 'next/navigation'
import { useEffect } from 'react'
import { paths } from '#lib/paths.ts'
import { NAV } from './nav-items.ts'

const SEQUENCE_MS = 1_200

/** Whether keys typed here are text (or belong to a guest's screen) rather than shortcuts. */
const takesKeys = (target: EventTarget | null) =>
  target instanceof Element &&
  (target.closest('input:not([type=checkbox],[type=radio]),textarea,select,dialog,[role=menu],[data-takes-keys]') !==
    null ||
    (target instanceof HTMLElement && target.isContentEditable))

/** Page-wide keys: palette, `g` then a letter, `c`, `/`, `?`. Elements marked `data-takes-keys` keep theirs. */
export function useShortcuts({
  openPalette,
  openHelp,
}: {
  readonly openPalette: () => void
  readonly openHelp: () => void
}) {
  const router = useRouter()
  useEffect(() => {
    let goAt = Number.NEGATIVE_INFINITY
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing) return
      const { key, timeStamp } = event
      const inGuest = event.target instanceof Element && event.target.closest('[data-takes-keys]') !== null
      if ((event.metaKey || event.ctrlKey) && !event.altKey && key.toLowerCase() === 'k' && !inGuest) {
        event.preventDefault()
        openPalette()
        return
      }
      if (event.metaKey || event.ctrlKey || event.altKey || takesKeys(event.target)) return
      const going = timeStamp - goAt < SEQUENCE_MS
      goAt = Number.NEGATIVE_INFINITY
      if (going) {
        const item = NAV.find((nav) => nav.key === key)
        if (item) {
          event.preventDefault()
          router.push(item.href)
        }
        return
      }
      if (key === 'g') goAt = timeStamp
      else if (key === 'c') {
        event.preventDefault()
        router.push(paths.vmNew())
      } else if (key === '?') {
        event.preventDefault()
        openHelp()
      } else if (key === '/') {
        event.preventDefault()
        const search = document.querySelector<HTMLInputElement>('input[data-page-search]')
        if (search) {
          search.focus()
          search.select()
        } else openPalette()
      }
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [router, openPalette, openHelp])
}
