'use client'
import { type ReactNode, useEffect, useId, useRef, useState } from 'react'
import { Button, type ButtonSize, type ButtonVariant } from './button.tsx'
import { cx } from './cx.ts'
import { place } from './place.ts'

export type MenuItem =
  | {
      readonly kind?: 'action'
      readonly id: string
      readonly label: string
      readonly icon?: ReactNode
      readonly onSelect: () => void
      readonly disabledReason?: string | null | undefined
      readonly danger?: boolean
      /** Draws a mark: one of several, or on. */
      readonly checked?: boolean
      /** Shown at the end, for example a shortcut. */
      readonly hint?: ReactNode
    }
  | { readonly kind: 'separator'; readonly id: string }
  | { readonly kind: 'heading'; readonly id: string; readonly label: string }

export interface MenuProps {
  /** Name of the button; shown on hover when `children` is only an icon. */
  readonly label: string
  readonly items: readonly MenuItem[]
  /** Content of the button. */
  readonly children: ReactNode
  readonly variant?: ButtonVariant
  readonly size?: ButtonSize
  /** The button shows only an icon. */
  readonly iconOnly?: boolean
  readonly className?: string | undefined
  readonly disabledReason?: string | null | undefined
  /** Open from the start, for menus that are only built when asked for. */
  readonly defaultOpen?: boolean
}

/**
 * A menu button after the ARIA pattern: arrows, Home, End and first letters move, Enter chooses, Esc closes and gives
 * the focus back. Disabled items stay reachable and show why. Built on the platform's popover, so nothing clips it.
 */
export function Menu(props: MenuProps) {
  const { label, items, children, variant = 'quiet', size = 'md', iconOnly = false, className, disabledReason } = props
  const [open, setOpen] = useState(props.defaultOpen ?? false)
  const trigger = useRef<HTMLButtonElement>(null)
  const id = useId()
  return (
    <>
      <Button
        ref={trigger}
        variant={variant}
        size={size}
        disabledReason={disabledReason}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        aria-label={iconOnly ? label : undefined}
        {...(iconOnly && !open && !disabledReason ? { 'data-tip': label } : {})}
        className={cx(iconOnly && (size === 'md' ? 'w-8 px-0!' : 'w-7 px-0!'), className)}
        onClick={() => setOpen((was) => !was)}
        onKeyDown={(event) => {
          if (event.key === 'ArrowDown' && !disabledReason) {
            event.preventDefault()
            setOpen(true)
          }
        }}
      >
        {children}
      </Button>
      {open && (
        <MenuPopover
          id={id}
          label={label}
          items={items}
          anchor={trigger}
          onClose={(refocus) => {
            setOpen(false)
            if (refocus) trigger.current?.focus()
          }}
        />
      )}
    </>
  )
}

interface PopoverProps {
  readonly id: string
  readonly label: string
  readonly items: readonly MenuItem[]
  readonly anchor: { readonly current: HTMLElement | null }
  readonly onClose: (refocus: boolean) => void
}

function MenuPopover({ id, label, items, anchor, onClose }: PopoverProps) {
  const ref = useRef<HTMLDivElement>(null)
  const typed = useRef({ text: '', at: 0 })
  const close = useRef(onClose)
  close.current = onClose

  useEffect(() => {
    const menu = ref.current
    if (!menu || !anchor.current) return
    menu.showPopover()
    place(menu, anchor.current)
    menu.querySelector<HTMLElement>('[role^=menuitem]')?.focus()
    const away = (event: Event) => {
      const target = event.target as Node
      if (!menu.contains(target) && !anchor.current?.contains(target)) close.current(false)
    }
    const opened = anchor.current.getBoundingClientRect()
    // News of a scroll may come after the click that followed it; only a button that moves leaves its menu behind.
    const scrolled = () => {
      const now = anchor.current?.getBoundingClientRect()
      if (now?.top !== opened.top || now.left !== opened.left) close.current(false)
    }
    document.addEventListener('pointerdown', away)
    addEventListener('scroll', scrolled, true)
    addEventListener('resize', away)
    return () => {
      document.removeEventListener('pointerdown', away)
      removeEventListener('scroll', scrolled, true)
      removeEventListener('resize', away)
    }
  }, [anchor])

  const move = (to: (index: number, all: HTMLElement[]) => number) => {
    const all = [...(ref.current?.querySelectorAll<HTMLElement>('[role^=menuitem]') ?? [])]
    const index = all.indexOf(document.activeElement as HTMLElement)
    all.at(to(index, all) % all.length)?.focus()
  }
  const onKeyDown = (event: React.KeyboardEvent) => {
    const { key } = event
    if (key === 'Tab') {
      onClose(true)
      return
    }
    if (key === 'Escape') onClose(true)
    else if (key === 'ArrowDown') move((i) => i + 1)
    else if (key === 'ArrowUp') move((i, all) => (i <= 0 ? all.length - 1 : i - 1))
    else if (key === 'Home') move(() => 0)
    else if (key === 'End') move((_, all) => all.length - 1)
    else if (key.length === 1 && key !== ' ' && !event.ctrlKey && !event.metaKey) {
      const now = event.timeStamp
      typed.current = { text: now - typed.current.at < 700 ? typed.current.text + key : key, at: now }
      const wanted = typed.current.text.toLowerCase()
      move((i, all) => {
        const found = all.findIndex((item) => item.textContent?.toLowerCase().startsWith(wanted))
        return found < 0 ? Math.max(0, i) : found
      })
    } else return
    event.preventDefault()
    event.stopPropagation()
  }

  return (
    <div
      ref={ref}
      id={id}
      role="menu"
      aria-label={label}
      tabIndex={-1}
      popover="manual"
      onKeyDown={onKeyDown}
      className="fixed m-0 max-h-[min(28rem,80dvh)] min-w-44 max-w-[calc(100vw-1rem)] overflow-y-auto rounded-md border border-line bg-raised p-1 text-ink shadow-pop"
    >
      {items.map((item) => {
        if (item.kind === 'separator') return <hr key={item.id} className="my-1 border-line" />
        if (item.kind === 'heading')
          return (
            <div key={item.id} className="px-2 pt-1.5 pb-0.5 text-faint text-xs">
              {item.label}
            </div>
          )
        return <Item key={item.id} item={item} onClose={onClose} />
      })}
    </div>
  )
}

type Action = Exclude<MenuItem, { kind: 'separator' | 'heading' }>

function Item({ item, onClose }: { readonly item: Action; readonly onClose: (refocus: boolean) => void }) {
  return (
    <button
      type="button"
      {...(item.checked === undefined
        ? { role: 'menuitem' }
        : { role: 'menuitemcheckbox', 'aria-checked': item.checked })}
      tabIndex={-1}
      aria-disabled={item.disabledReason ? true : undefined}
      onClick={() => {
        if (item.disabledReason) return
        // Close first: what the action opens must not have its focus taken back.
        onClose(true)
        item.onSelect()
      }}
      onPointerMove={(event) => event.currentTarget.focus({ preventScroll: true })}
      className={cx(
        'touch flex w-full items-start gap-2 rounded-sm px-2 py-1.5 text-start outline-none focus:bg-hover',
        item.danger && !item.disabledReason && 'text-crashed',
      )}
    >
      {item.icon && (
        <span className={cx('mt-0.5 shrink-0', item.disabledReason && 'opacity-55')} aria-hidden="true">
          {item.icon}
        </span>
      )}
      <span className="min-w-0 flex-1">
        <span className={item.disabledReason ? 'text-faint' : undefined}>{item.label}</span>
        {item.disabledReason && <span className="block max-w-60 text-faint text-xs">{item.disabledReason}</span>}
      </span>
      {item.hint && <span className="shrink-0 text-faint">{item.hint}</span>}
      {item.checked !== undefined && (
        <span aria-hidden="true" className="w-4 shrink-0 text-accent">
          {item.checked ? '✓' : ''}
        </span>
      )}
    </button>
  )
}
