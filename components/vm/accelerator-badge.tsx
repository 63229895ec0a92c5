'use client'
import { useEffect, useId, useRef, useState } from 'react'
import { Link } from '#components/nav/link.tsx'
import { badgeClass } from '#components/ui/badge.tsx'
import { cx } from '#components/ui/cx.ts'
import { place } from '#components/ui/place.ts'
import { useT } from '#lib/client/i18n.tsx'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import { paths } from '#lib/paths.ts'
import type { VmAccelerator } from '#lib/schema/vm-state.ts'

const nameKey = (accelerator: VmAccelerator) => `accelerator.${accelerator.actual ?? 'none'}` as const
const tone = (accelerator: VmAccelerator) => (accelerator.actual === 'kvm' ? 'running' : 'attention')

/** What a VM runs on; the reason on hover. For tables. */
export function AcceleratorTag({ accelerator }: { readonly accelerator: VmAccelerator }) {
  const t = useT(messages)
  return (
    <span className={badgeClass(tone(accelerator))} data-tip={accelerator.reason}>
      {t(nameKey(accelerator))}
      <span className="sr-only">: {accelerator.reason}</span>
    </span>
  )
}

/** What a VM runs on; pressed, it tells why. */
export function AcceleratorBadge({ accelerator }: { readonly accelerator: VmAccelerator }) {
  const t = useT(messages)
  const [open, setOpen] = useState(false)
  const trigger = useRef<HTMLButtonElement>(null)
  const panel = useRef<HTMLDivElement>(null)
  const id = useId()
  useEffect(() => {
    const box = panel.current
    if (!open || !box || !trigger.current) return
    place(box, trigger.current)
    const away = (event: Event) => {
      const target = event.target as Node
      if (!box.contains(target) && !trigger.current?.contains(target)) setOpen(false)
    }
    const onEscape = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return
      setOpen(false)
      trigger.current?.focus()
    }
    document.addEventListener('pointerdown', away)
    document.addEventListener('keydown', onEscape)
    return () => {
      document.removeEventListener('pointerdown', away)
      document.removeEventListener('keydown', onEscape)
    }
  }, [open])
  const name = t(nameKey(accelerator))
  return (
    <>
      <button
        ref={trigger}
        type="button"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen((was) => !was)}
        className={cx(badgeClass(tone(accelerator)), 'touch justify-center hover:bg-hover')}
      >
        {name}
        <span className="sr-only">
          : {accelerator.actual ? t('accelerator.why', { name }) : t('accelerator.whyNone')}
        </span>
        <span aria-hidden="true">?</span>
      </button>
      {open && (
        <div
          ref={panel}
          id={id}
          className="fixed z-40 flex w-80 max-w-[calc(100vw-1rem)] flex-col gap-2 rounded-md border border-line bg-raised p-3 shadow-pop"
        >
          <p>{accelerator.reason}</p>
          <p className="text-faint text-sm">
            {t(accelerator.observed ? 'accelerator.observed' : 'accelerator.predicted')}
          </p>
          <p>
            <Link href={paths.host()}>{t('accelerator.host')}</Link>
          </p>
        </div>
      )}
    </>
  )
}
