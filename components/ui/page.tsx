import type { ReactNode } from 'react'
import { cx } from './cx.ts'

/** Content column of a page. Consoles use `wide`. */
export function Page({ children, wide = false }: { readonly children: ReactNode; readonly wide?: boolean }) {
  return (
    <div className={cx('mx-auto flex w-full flex-col gap-5 px-4 py-4 sm:px-6', !wide && 'max-w-[90rem]')}>
      {children}
    </div>
  )
}

/** Title, what belongs beside it, and what can be done here. */
export function PageHeader({
  title,
  note,
  actions,
}: {
  readonly title: ReactNode
  readonly note?: ReactNode
  readonly actions?: ReactNode
}) {
  return (
    <header className="flex min-h-8 flex-wrap items-center gap-x-3 gap-y-2">
      <h1 className="min-w-0 break-words">{title}</h1>
      {note && <div className="text-faint">{note}</div>}
      {actions && <div className="ms-auto flex flex-wrap items-center gap-2">{actions}</div>}
    </header>
  )
}

/** A named part of a page, divided by a line, not boxed. */
export function Section({
  title,
  note,
  actions,
  children,
  className,
}: {
  readonly title: string
  readonly note?: ReactNode
  readonly actions?: ReactNode
  readonly children: ReactNode
  readonly className?: string
}) {
  return (
    <section aria-label={title} className={cx('flex min-w-0 flex-col gap-3', className)}>
      <header className="flex min-h-7 flex-wrap items-center gap-x-3 gap-y-1 border-line border-b pb-1.5">
        <h2>{title}</h2>
        {note && <div className="text-faint text-sm">{note}</div>}
        {actions && <div className="ms-auto flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      {children}
    </section>
  )
}

export interface Fact {
  readonly label: string
  readonly value: ReactNode
}

/** Names and values in two columns. */
export function Facts({ facts, className }: { readonly facts: readonly Fact[]; readonly className?: string }) {
  return (
    <dl className={cx('grid grid-cols-[minmax(6rem,max-content)_minmax(0,1fr)] gap-x-4 gap-y-1.5', className)}>
      {facts.map((fact) => (
        <div key={fact.label} className="contents">
          <dt className="text-faint">{fact.label}</dt>
          <dd className="min-w-0 break-words">{fact.value}</dd>
        </div>
      ))}
    </dl>
  )
}
