'use client'
import type { ReactNode } from 'react'
import { Dialog } from '#components/ui/dialog.tsx'
import { Kbd } from '#components/ui/kbd.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { NAV } from './nav-items.ts'

/** All keyboard shortcuts. */
export function ShortcutHelp({ onClose }: { readonly onClose: () => void }) {
  const t = useT(app)
  return (
    <Dialog title={t('shortcuts.title')} closeLabel={t('close')} onClose={onClose} width="md">
      <div className="grid gap-x-8 gap-y-1.5 sm:grid-cols-2">
        <Line label={t('shortcuts.palette')}>
          <Kbd>Ctrl K</Kbd>
          <Kbd>⌘ K</Kbd>
        </Line>
        <Line label={t('shortcuts.search')}>
          <Kbd>/</Kbd>
        </Line>
        <Line label={t('shortcuts.newVm')}>
          <Kbd>c</Kbd>
        </Line>
        <Line label={t('shortcuts.help')}>
          <Kbd>?</Kbd>
        </Line>
        {NAV.map((item) => (
          <Line key={item.id} label={t('shortcuts.goTo', { page: t(`nav.${item.id}`) })}>
            <Kbd>g</Kbd>
            <span className="text-faint text-xs">{t('shortcuts.followedBy')}</span>
            <Kbd>{item.key}</Kbd>
          </Line>
        ))}
        <h3 className="mt-3 text-faint sm:col-span-2">{t('shortcuts.table')}</h3>
        <Line label={t('shortcuts.move')}>
          <Kbd>↑</Kbd>
          <Kbd>↓</Kbd>
        </Line>
        <Line label={t('shortcuts.edges')}>
          <Kbd>Home</Kbd>
          <Kbd>End</Kbd>
        </Line>
        <Line label={t('shortcuts.enter')}>
          <Kbd>Enter</Kbd>
        </Line>
        <Line label={t('shortcuts.select')}>
          <Kbd>x</Kbd>
        </Line>
      </div>
    </Dialog>
  )
}

function Line({ label, children }: { readonly label: string; readonly children: ReactNode }) {
  return (
    <div className="flex min-h-7 items-center justify-between gap-3">
      <span>{label}</span>
      <span className="flex shrink-0 items-center gap-1">{children}</span>
    </div>
  )
}
