'use client'
import { Expand, Shrink } from 'lucide-react'
import { useEffect, useState } from 'react'
import { IconButton } from '#components/ui/button.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'

/** @param root the element that goes full screen */
export function FullScreenButton({ root }: { readonly root: { readonly current: HTMLElement | null } }) {
  const t = useT(consoleMessages)
  const [isFull, setFull] = useState(false)
  useEffect(() => {
    const update = () => setFull(document.fullscreenElement !== null)
    document.addEventListener('fullscreenchange', update)
    return () => document.removeEventListener('fullscreenchange', update)
  }, [])
  return (
    <IconButton
      label={isFull ? t('leaveFullScreen') : t('fullScreen')}
      onClick={() => {
        // A browser may refuse, for example in an embedded page; the button then simply does nothing.
        const change = isFull ? document.exitFullscreen() : root.current?.requestFullscreen()
        change?.catch(() => {})
      }}
    >
      {isFull ? <Shrink size={16} aria-hidden="true" /> : <Expand size={16} aria-hidden="true" />}
    </IconButton>
  )
}
