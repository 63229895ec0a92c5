'use client'
import { Ellipsis, PanelLeftClose, PanelLeftOpen } from 'lucide-react'
import NextLink from 'next/link'
import { usePathname, useRouter } from 'next/navigation'
import { useEffect, useState } from 'react'
import { IconButton } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { Menu } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { setNavCollapsed } from '#lib/client/preferences.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { isUnder, NAV } from './nav-items.ts'

/** Navigation at the left: names and icons, or icons alone with names on hover. Width is a style of the root. */
export function SideNav() {
  const t = useT(app)
  const here = usePathname()
  // The root's attribute decides the look, so that the first paint is right; this only names the button.
  const [narrow, setNarrow] = useState(false)
  useEffect(() => setNarrow(document.documentElement.dataset.nav === 'narrow'), [])
  return (
    <nav
      aria-label={t('nav.label')}
      className="sticky top-12 hidden h-[calc(100dvh-3rem)] w-48 shrink-0 flex-col overflow-y-auto border-line border-e p-2 md:flex nav-narrow:w-[3.25rem]"
    >
      <ul className="flex flex-col gap-0.5">
        {NAV.map(({ id, href, icon: Icon }) => {
          const current = isUnder(here, href)
          return (
            <li key={id}>
              <NextLink
                href={href}
                prefetch={false}
                aria-current={current ? (here === href ? 'page' : 'true') : undefined}
                data-tip={narrow ? t(`nav.${id}`) : undefined}
                className={cx(
                  'flex h-8 items-center gap-2.5 rounded-md px-2.5',
                  current ? 'bg-selected font-medium text-ink' : 'text-dim hover:bg-hover hover:text-ink',
                )}
              >
                <Icon size={16} aria-hidden="true" className={cx('shrink-0', current && 'text-accent')} />
                <span className="truncate nav-narrow:sr-only">{t(`nav.${id}`)}</span>
              </NextLink>
            </li>
          )
        })}
      </ul>
      <IconButton
        label={t(narrow ? 'nav.expand' : 'nav.collapse')}
        aria-expanded={!narrow}
        className="mt-auto"
        onClick={() => {
          setNavCollapsed(!narrow)
          setNarrow(!narrow)
        }}
      >
        {narrow ? <PanelLeftOpen size={16} aria-hidden="true" /> : <PanelLeftClose size={16} aria-hidden="true" />}
      </IconButton>
    </nav>
  )
}

const ON_PHONE = 4

/** The same at phone width: the four most used, the rest in a menu. */
export function BottomBar() {
  const t = useT(app)
  const here = usePathname()
  const router = useRouter()
  const item = 'flex h-14 min-w-0 flex-1 flex-col items-center justify-center gap-0.5 text-xs'
  return (
    <nav
      aria-label={t('nav.label')}
      className="fixed inset-x-0 bottom-0 z-30 flex border-line border-t bg-surface pb-[env(safe-area-inset-bottom)] md:hidden"
    >
      {NAV.slice(0, ON_PHONE).map(({ id, href, icon: Icon }) => {
        const current = isUnder(here, href)
        return (
          <NextLink
            key={id}
            href={href}
            prefetch={false}
            aria-current={current ? (here === href ? 'page' : 'true') : undefined}
            className={cx(item, current ? 'font-medium text-accent' : 'text-dim')}
          >
            <Icon size={18} aria-hidden="true" />
            {id === 'vms' ? t('nav.vmsShort') : t(`nav.${id}`)}
          </NextLink>
        )
      })}
      <Menu
        label={t('nav.more')}
        className={cx(item, 'h-14! gap-0.5! rounded-none! px-0! font-normal! text-xs!')}
        items={NAV.slice(ON_PHONE).map(({ id, href, icon: Icon }) => ({
          id,
          label: t(`nav.${id}`),
          icon: <Icon size={16} />,
          onSelect: () => router.push(href),
        }))}
      >
        <Ellipsis size={18} aria-hidden="true" />
        {t('nav.more')}
      </Menu>
    </nav>
  )
}
