'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Contrast, Search, UserRound } from 'lucide-react'
import NextLink from 'next/link'
import { useRouter } from 'next/navigation'
import { useEffect, useState } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Kbd } from '#components/ui/kbd.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { currentTheme, recall, remember, setTheme, THEMES, type Theme } from '#lib/client/preferences.ts'
import { queries } from '#lib/client/queries.ts'
import { useUser } from '#lib/client/session.ts'
import { toastError } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { paths } from '#lib/paths.ts'
import { JobsMenu } from './jobs-menu.tsx'

const HOSTNAME_KEY = 'hostname'

export function TopBar({ onSearch, onHelp }: { readonly onSearch: () => void; readonly onHelp: () => void }) {
  const t = useT(app)
  const hostname = useHostname()
  // Which key opens the palette depends on the keyboard; the server cannot know it.
  const [mac, setMac] = useState(false)
  useEffect(() => setMac(/mac|iphone|ipad/i.test(navigator.platform)), [])
  return (
    <header className="sticky top-0 z-30 flex h-12 items-center gap-1 border-line border-b bg-surface ps-4 pe-2 sm:gap-2">
      <NextLink
        href={paths.overview()}
        prefetch={false}
        className="flex min-w-0 items-center gap-2 rounded-sm font-semibold"
      >
        <Logo />
        <span className="max-sm:sr-only">{t('name')}</span>
      </NextLink>
      {hostname && (
        <NextLink
          href={paths.host()}
          prefetch={false}
          className="flex min-w-0 items-center gap-2 rounded-sm text-dim hover:text-ink"
        >
          <span aria-hidden="true" className="text-faint">
            ▸
          </span>
          <span className="truncate font-mono text-sm">{hostname}</span>
        </NextLink>
      )}
      <div className="flex flex-1 justify-end sm:justify-center">
        <button
          type="button"
          onClick={onSearch}
          aria-keyshortcuts="Meta+K Control+K"
          className="hidden h-8 w-full max-w-80 items-center gap-2 rounded-md border border-edge bg-sunken px-2.5 text-faint hover:text-ink sm:flex"
        >
          <Search size={14} aria-hidden="true" className="shrink-0" />
          <span className="flex-1 truncate text-start">{t('search')}</span>
          <Kbd>{mac ? '⌘ K' : 'Ctrl K'}</Kbd>
        </button>
        <IconButton label={t('searchShort')} onClick={onSearch} className="sm:hidden">
          <Search size={16} aria-hidden="true" />
        </IconButton>
      </div>
      <JobsMenu />
      <ThemeMenu />
      <AccountMenu onHelp={onHelp} />
    </header>
  )
}

/**
 * The host's name, from whichever page has asked for the host, else as this browser remembers it: eight kilobytes are
 * too much to fetch for one word on every page.
 */
function useHostname(): string | null {
  const { data } = useQuery({ ...queries.hostView(), enabled: false })
  const current = data?.hostname ?? null
  const [known, setKnown] = useState<string | null>(null)
  useEffect(() => {
    if (current === null) setKnown(recall(HOSTNAME_KEY, (value) => (typeof value === 'string' ? value : null)))
    else remember(HOSTNAME_KEY, current)
  }, [current])
  return current ?? known
}

/** A deck of three screens, the front one lit. */
function Logo() {
  return (
    <svg viewBox="0 0 20 20" className="size-5 shrink-0" aria-hidden="true" fill="none">
      <path d="M6 2.75h11.25V11M4 5.25h10.75v9" className="stroke-faint" strokeWidth="1.5" />
      <path d="M1.75 7.75h10.5v9H1.75z" className="fill-accent-fill stroke-accent-fill" strokeWidth="1.5" />
    </svg>
  )
}

function ThemeMenu() {
  const t = useT(app)
  const [theme, show] = useState<Theme>('system')
  useEffect(() => show(currentTheme()), [])
  return (
    <Menu
      label={t('theme.label')}
      iconOnly
      items={THEMES.map((id) => ({
        id,
        label: t(`theme.${id}`),
        checked: theme === id,
        onSelect: () => {
          setTheme(id)
          show(id)
        },
      }))}
    >
      <Contrast size={16} aria-hidden="true" />
    </Menu>
  )
}

function AccountMenu({ onHelp }: { readonly onHelp: () => void }) {
  const t = useT(app)
  const user = useUser()
  const router = useRouter()
  const client = useQueryClient()
  const signOut = useOperation('oidcSignOut', {
    onSuccess: ({ url }) => {
      // Nothing of one person may flash before the next.
      client.clear()
      remember(HOSTNAME_KEY, null)
      if (url !== null) location.assign(url)
      else router.replace(paths.login())
    },
    onError: (error) => toastError(error, t('account.signOut')),
  })
  if (!user) return <Button variant="quiet" className="w-8 px-0!" aria-hidden="true" tabIndex={-1} />
  return (
    <Menu
      label={t('account.label', { name: user.name })}
      iconOnly
      items={[
        { kind: 'heading', id: 'who', label: `${user.name} · ${t(`role.${user.role}`)}` },
        { id: 'own', label: t('account.own'), onSelect: () => router.push(paths.account()) },
        { id: 'keys', label: t('shortcuts.open'), hint: <Kbd>?</Kbd>, onSelect: onHelp },
        { kind: 'separator', id: 'line' },
        { id: 'out', label: t('account.signOut'), onSelect: () => signOut.mutate({ input: {} }) },
      ]}
    >
      <UserRound size={16} aria-hidden="true" />
    </Menu>
  )
}
