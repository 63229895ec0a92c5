'use client'
import NextLink from 'next/link'
import { usePathname } from 'next/navigation'
import { cx } from '#components/ui/cx.ts'

export interface TabLink {
  readonly href: string
  readonly label: string
}

/** Tabs that are addresses: each is a link, the open one is `aria-current`. */
export function Tabs({ label, tabs }: { readonly label: string; readonly tabs: readonly TabLink[] }) {
  const here = usePathname()
  return (
    <nav aria-label={label} className="-mb-px flex gap-1 overflow-x-auto">
      {tabs.map((tab) => {
        const current = here === tab.href
        return (
          <NextLink
            key={tab.href}
            href={tab.href}
            prefetch={false}
            aria-current={current ? 'page' : undefined}
            className={cx(
              'touch inline-flex shrink-0 items-center whitespace-nowrap border-b-2 px-3 py-2 -outline-offset-2',
              current ? 'border-accent font-medium text-ink' : 'border-transparent text-dim hover:text-ink',
            )}
          >
            {tab.label}
          </NextLink>
        )
      })}
    </nav>
  )
}
