'use client'
import { useEffect, useRef } from 'react'
import { place } from './place.ts'

const DELAY_MS = 350

/**
 * Shows the `data-tip` of whatever is hovered or focused. One host for the page instead of one component per control:
 * a thousand table rows cost nothing. Sight only; what matters is also in the control's name or description.
 */
export function TooltipHost() {
  const ref = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const tip = ref.current
    if (!tip) return
    let timer: ReturnType<typeof setTimeout> | undefined
    let current: HTMLElement | null = null
    const hide = () => {
      clearTimeout(timer)
      current = null
      if (tip.matches(':popover-open')) tip.hidePopover()
    }
    const show = (target: HTMLElement) => {
      const text = target.dataset.tip
      if (!text || !target.isConnected) return
      tip.textContent = text
      // Popovers stack in the order they open: reopening puts it above a dialog.
      if (tip.matches(':popover-open')) tip.hidePopover()
      tip.showPopover()
      place(tip, target, 6, 'center')
    }
    const enter = (event: Event, delay: number) => {
      const target = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-tip]') : null
      if (target === current) return
      hide()
      current = target
      if (target) timer = setTimeout(() => show(target), delay)
    }
    const over = (event: PointerEvent) => {
      if (event.pointerType !== 'touch') enter(event, DELAY_MS)
    }
    const focus = (event: FocusEvent) => {
      if (event.target instanceof Element && event.target.matches(':focus-visible')) enter(event, 0)
    }
    const key = (event: KeyboardEvent) => {
      if (event.key === 'Escape') hide()
    }
    const listen = { capture: true, passive: true } as const
    document.addEventListener('pointerover', over, listen)
    document.addEventListener('focusin', focus, listen)
    document.addEventListener('focusout', hide, listen)
    document.addEventListener('pointerdown', hide, listen)
    document.addEventListener('keydown', key, listen)
    addEventListener('scroll', hide, listen)
    return () => {
      hide()
      document.removeEventListener('pointerover', over, listen)
      document.removeEventListener('focusin', focus, listen)
      document.removeEventListener('focusout', hide, listen)
      document.removeEventListener('pointerdown', hide, listen)
      document.removeEventListener('keydown', key, listen)
      removeEventListener('scroll', hide, listen)
    }
  }, [])
  return (
    <div
      ref={ref}
      popover="manual"
      aria-hidden="true"
      className="pointer-events-none fixed m-0 max-w-72 rounded-sm border border-line bg-raised px-2 py-1 text-ink text-sm shadow-pop"
    />
  )
}
