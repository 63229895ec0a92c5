import { ChevronRight } from 'lucide-react'
import type { ReactNode } from 'react'
import { cx } from './cx.ts'
import { MarkIcon } from './state-mark.tsx'

/** A grey shape of the size of what is coming. */
export function Skeleton({ className = 'h-4 w-24' }: { readonly className?: string }) {
  return <span aria-hidden="true" className={cx('block animate-pulse rounded-sm bg-hover', className)} />
}

/** What stands where a list would be, when there is nothing to list. */
export function EmptyState({
  title,
  children,
  actions,
}: {
  readonly title: string
  readonly children?: ReactNode
  readonly actions?: ReactNode
}) {
  return (
    <div className="flex flex-col items-start gap-2 rounded-md border border-line border-dashed px-4 py-8 sm:items-center sm:text-center">
      <p className="font-medium text-lg">{title}</p>
      {children && <div className="max-w-prose text-dim">{children}</div>}
      {actions && <div className="mt-2 flex flex-wrap gap-2">{actions}</div>}
    </div>
  )
}

export type BannerTone = 'info' | 'attention' | 'error'
const BANNER: Record<BannerTone, string> = {
  info: 'border-line bg-changing-tint',
  attention: 'border-attention bg-attention-tint',
  error: 'border-crashed bg-crashed-tint',
}

/** A strip that says something about the whole page or panel. */
export function Banner({
  tone,
  children,
  actions,
  className,
}: {
  readonly tone: BannerTone
  readonly children: ReactNode
  readonly actions?: ReactNode
  readonly className?: string
}) {
  return (
    <div
      className={cx('flex flex-wrap items-start gap-x-3 gap-y-2 rounded-md border px-3 py-2', BANNER[tone], className)}
    >
      {tone !== 'info' && <MarkIcon mark={tone === 'error' ? 'crashed' : 'attention'} className="mt-1 size-3" />}
      <div className="min-w-0 flex-1 basis-48">{children}</div>
      {actions && <div className="flex flex-wrap gap-2">{actions}</div>}
    </div>
  )
}

/** More of the same, on demand. */
export function Disclosure({
  summary,
  children,
  open,
  onOpen,
}: {
  readonly summary: ReactNode
  readonly children: ReactNode
  readonly open?: boolean
  /** When it is opened: by hand, by a script or by a find on the page. */
  readonly onOpen?: () => void
}) {
  return (
    <details
      className="group min-w-0"
      open={open}
      onToggle={onOpen && ((event) => event.currentTarget.open && onOpen())}
    >
      <summary className="touch inline-flex list-none items-center gap-1 rounded-sm text-dim hover:text-ink [&::-webkit-details-marker]:hidden">
        <ChevronRight size={14} aria-hidden="true" className="transition-transform duration-100 group-open:rotate-90" />
        {summary}
      </summary>
      <div className="mt-2 min-w-0">{children}</div>
    </details>
  )
}

/** Verbatim output: wraps, scrolls, never widens the page. */
export function Output({ children, label }: { readonly children: string; readonly label: string }) {
  return (
    <section
      aria-label={label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
      tabIndex={0}
      className="max-h-64 overflow-auto rounded-md border border-line bg-sunken p-2 font-mono text-dim text-xs"
    >
      <pre className="whitespace-pre-wrap break-words">{children}</pre>
    </section>
  )
}
