'use client'
import { useEffect } from 'react'

/**
 * Titles the tab with what the page shows, which the server does not know. It keeps the title: a change of the address
 * within the page makes Next put its own back.
 * @param title null: not known yet, the server's stays
 */
export function usePageTitle(title: string | null): void {
  useEffect(() => {
    if (title === null) return
    const keep = () => {
      if (document.title !== title) document.title = title
    }
    keep()
    const observer = new MutationObserver(keep)
    observer.observe(document.head, { childList: true, subtree: true, characterData: true })
    return () => observer.disconnect()
  }, [title])
}
