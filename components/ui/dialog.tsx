'use client'
import { X } from 'lucide-react'
import { type ReactNode, useEffect, useId, useRef, useState } from 'react'
import { IconButton } from './button.tsx'
import { cx } from './cx.ts'

export interface DialogProps {
  readonly title: string
  readonly closeLabel: string
  readonly onClose: () => void
  readonly children: ReactNode
  /** Buttons, the safest first; the main action last. */
  readonly footer?: ReactNode
  readonly width?: 'sm' | 'md' | 'lg'
  /** Esc and a press beside it do nothing, for example while work is under way. */
  readonly locked?: boolean
}

const WIDTH = { sm: 'max-w-md', md: 'max-w-xl', lg: 'max-w-3xl' }

/**
 * A modal dialog on the platform's own `<dialog>`: the browser traps the focus, hides the rest from assistive
 * technology and gives the focus back. Mounted means open; the caller unmounts it in `onClose`.
 */
export function Dialog({ title, closeLabel, onClose, children, footer, width = 'sm', locked = false }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  const pressedBackdrop = useRef(false)
  useEffect(() => {
    const dialog = ref.current
    const before = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      // Unmounting removes the element before the browser would return the focus itself.
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault()
        if (!locked) onClose()
      }}
      // A press that began inside (selecting text) and ended outside does not close.
      onPointerDown={(event) => {
        pressedBackdrop.current = event.target === ref.current
      }}
      onPointerUp={(event) => {
        if (pressedBackdrop.current && event.target === ref.current && !locked) onClose()
      }}
      className={cx(
        'w-[calc(100%-2rem)] overflow-visible rounded-md border border-line bg-raised p-0 text-start shadow-pop',
        WIDTH[width],
      )}
    >
      <div className="flex max-h-[calc(100dvh-4rem)] flex-col">
        <header className="flex items-start justify-between gap-3 border-line border-b px-4 py-2.5">
          <h2 id={titleId} className="min-w-0 break-words pt-1 text-lg">
            {title}
          </h2>
          <IconButton label={closeLabel} onClick={onClose} disabledReason={null} pending={false}>
            <X size={16} aria-hidden="true" />
          </IconButton>
        </header>
        <DialogBody>{children}</DialogBody>
        {footer && (
          <footer className="flex flex-wrap justify-end gap-2 border-line border-t px-4 py-3">{footer}</footer>
        )}
      </div>
    </dialog>
  )
}

/** What is too long for the screen scrolls, by keyboard too: it may hold nothing that takes the focus. */
function DialogBody({ children }: { readonly children: ReactNode }) {
  const ref = useRef<HTMLDivElement>(null)
  const [scrolls, setScrolls] = useState(false)
  useEffect(() => {
    const body = ref.current
    const content = body?.firstElementChild
    if (!body || !content) return
    const observer = new ResizeObserver(() => setScrolls(body.scrollHeight > body.clientHeight))
    observer.observe(body)
    observer.observe(content)
    return () => observer.disconnect()
  }, [])
  return (
    <div ref={ref} tabIndex={scrolls ? 0 : undefined} className="min-h-0 overflow-y-auto px-4 py-4">
      <div>{children}</div>
    </div>
  )
}
