'use client'
import { useQuery } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { useEffect, useId, useMemo, useRef, useState } from 'react'
import { cx } from '#components/ui/cx.ts'
import { MARK_OF_STATE, MarkIcon } from '#components/ui/state-mark.tsx'
import { useVmActions } from '#components/vm/use-vm-actions.ts'
import { useT } from '#lib/client/i18n.tsx'
import { setTheme, THEMES } from '#lib/client/preferences.ts'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { paths } from '#lib/paths.ts'
import type { PowerAction, Vm } from '#lib/schema/vm-state.ts'
import { NAV } from './nav-items.ts'
import { findEntries, type PaletteEntry } from './palette-entries.ts'

const POWER_ACTIONS: readonly PowerAction[] = ['start', 'shutdown', 'poweroff', 'reset', 'pause', 'resume']

interface Entry extends PaletteEntry {
  readonly vm?: Vm
}

/** Every page, VM and action by typing. A combobox over a list: focus stays in the field. */
export function Palette({ onClose, onHelp }: { readonly onClose: () => void; readonly onHelp: () => void }) {
  const t = useT(app)
  const router = useRouter()
  const { data: vms } = useQuery(queries.vmList())
  const act = useVmActions()
  const [query, setQuery] = useState('')
  const [active, setActive] = useState(0)
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()

  useEffect(() => {
    const dialog = ref.current
    const before = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])

  const entries = useMemo<Entry[]>(() => {
    const go = (href: string) => () => router.push(href)
    const list: Entry[] = NAV.map((item) => ({
      id: item.id,
      group: 'pages' as const,
      label: t(`nav.${item.id}`),
      hint: `g ${item.key}`,
      run: go(item.href),
    }))
    list.push({
      id: 'new',
      group: 'actions',
      label: t('shortcuts.newVm'),
      keywords: 'create add',
      hint: 'c',
      run: go(paths.vmNew()),
    })
    for (const theme of THEMES)
      list.push({
        id: `theme-${theme}`,
        group: 'actions',
        label: `${t('theme.label')}: ${t(`theme.${theme}`)}`,
        run: () => setTheme(theme),
      })
    list.push({ id: 'help', group: 'actions', label: t('shortcuts.open'), hint: '?', run: onHelp })
    for (const vm of vms?.items ?? []) {
      list.push({
        id: vm.id,
        group: 'vms',
        label: vm.name,
        keywords: vm.spec.tags.join(' '),
        vm,
        run: go(paths.vm(vm.id)),
      })
      list.push({
        id: `snapshots-${vm.id}`,
        group: 'actions',
        label: t('palette.snapshotsOf', { name: vm.name }),
        run: go(paths.vmSnapshots(vm.id)),
      })
      for (const action of POWER_ACTIONS)
        if (vm.actions[action]?.allowed)
          list.push({
            id: `${vm.id}-${action}`,
            group: 'actions',
            label: `${t(`power.${action}`)} ${vm.name}`,
            run: () => act(vm, action),
          })
    }
    return list
  }, [vms, router, t, act, onHelp])

  const found = useMemo(() => findEntries(entries, query), [entries, query])
  const current = found[Math.min(active, found.length - 1)]
  const choose = (entry: Entry | undefined) => {
    if (!entry) return
    onClose()
    entry.run()
  }
  useEffect(() => {
    if (current) document.getElementById(`${id}-${current.id}`)?.scrollIntoView({ block: 'nearest' })
  }, [current, id])

  return (
    <dialog
      ref={ref}
      aria-label={t('palette.label')}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onPointerDown={(event) => {
        if (event.target === ref.current) onClose()
      }}
      className="mt-[12dvh] mb-auto w-[calc(100%-2rem)] max-w-xl overflow-hidden rounded-md border border-line bg-raised p-0 text-ink shadow-pop"
    >
      <div className="flex max-h-[70dvh] flex-col">
        <input
          role="combobox"
          aria-label={t('palette.placeholder')}
          placeholder={t('palette.placeholder')}
          aria-expanded="true"
          aria-controls={`${id}-list`}
          aria-activedescendant={current ? `${id}-${current.id}` : undefined}
          aria-autocomplete="list"
          autoComplete="off"
          spellCheck={false}
          value={query}
          onChange={(event) => {
            setQuery(event.target.value)
            setActive(0)
          }}
          onKeyDown={(event) => {
            const move = (to: number) => {
              event.preventDefault()
              setActive((to + found.length) % Math.max(1, found.length))
            }
            const at = Math.min(active, found.length - 1)
            if (event.key === 'ArrowDown') move(at + 1)
            else if (event.key === 'ArrowUp') move(at - 1)
            else if (event.key === 'Enter') {
              event.preventDefault()
              choose(current)
            }
          }}
          className="h-12 shrink-0 border-line border-b bg-transparent px-4 text-lg outline-none placeholder:text-faint"
        />
        <div id={`${id}-list`} role="listbox" aria-label={t('palette.label')} className="min-h-0 overflow-y-auto p-1.5">
          {(['pages', 'vms', 'actions'] as const).map((group) => {
            const members = found.filter((entry) => entry.group === group)
            if (members.length === 0) return null
            return (
              // biome-ignore lint/a11y/useSemanticElements: a group inside a listbox has no native element
              <div key={group} role="group" aria-labelledby={`${id}-${group}`}>
                <div id={`${id}-${group}`} className="px-2.5 pt-2 pb-1 text-faint text-xs">
                  {t(`palette.${group}`)}
                </div>
                {members.map((entry) => (
                  // biome-ignore lint/a11y/useKeyWithClickEvents: the field handles the keys (combobox pattern)
                  <div
                    key={entry.id}
                    id={`${id}-${entry.id}`}
                    role="option"
                    tabIndex={-1}
                    aria-selected={entry === current}
                    onPointerMove={() => setActive(found.indexOf(entry))}
                    onClick={() => choose(entry)}
                    className={cx(
                      'touch flex cursor-pointer items-center gap-2 rounded-sm px-2.5 py-1.5',
                      entry === current && 'bg-selected',
                    )}
                  >
                    {entry.vm && <MarkIcon mark={MARK_OF_STATE[entry.vm.state]} />}
                    <span className="min-w-0 flex-1 truncate">{entry.label}</span>
                    {entry.hint && <span className="text-faint text-sm">{entry.hint}</span>}
                  </div>
                ))}
              </div>
            )
          })}
        </div>
        {found.length === 0 && <p className="px-4 pb-4 text-faint">{t('palette.none', { query })}</p>}
        <p className="shrink-0 border-line border-t px-4 py-2 text-faint text-xs max-sm:hidden">{t('palette.hint')}</p>
      </div>
    </dialog>
  )
}
