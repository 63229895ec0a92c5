'use client'
import { useQuery } from '@tanstack/react-query'
import { LayoutGrid, Plus, Rows3, Search, X } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useDeferredValue, useEffect, useMemo, useRef, useState } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { EmptyState } from '#components/ui/feedback.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan, useUser } from '#lib/client/session.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vms as messages } from '#lib/i18n/messages/en/vms.ts'
import { paths } from '#lib/paths.ts'
import { matchesSearch, parseSearch } from '#lib/vm/search.ts'
import { sortVms } from '#lib/vm/sort.ts'
import { ColumnsMenu, useColumns } from './columns.tsx'
import { ProjectFilter } from './project-filter.tsx'
import { useListState } from './use-list-state.ts'
import { VmTable } from './vm-table.tsx'

const BulkBar = dynamic(() => import('./bulk-bar.tsx').then((m) => m.BulkBar), { ssr: false })
const VmGrid = dynamic(() => import('./vm-grid.tsx').then((m) => m.VmGrid))

const FILTERS = [
  ['all', ''],
  ['running', 'state:running'],
  ['off', 'state:off'],
  ['attention', 'needs:you'],
] as const

export function VmListScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, isPending, refetch } = useQuery(queries.vmList())
  const me = useUser()?.name ?? null
  const canCreate = useCan('vm.create')
  const [state, change] = useListState()
  const [columns, setColumns] = useColumns()
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  // The field answers every key at once; the list follows when it can.
  const [text, setText] = useState(state.query)
  // The address follows the field a moment late; what it says on the way must not overwrite newer keys. Only an
  // address that changed by itself (back button, a link) changes the field.
  const written = useRef<string | null>(null)
  useEffect(() => {
    if (written.current === null) setText(state.query)
    else if (written.current === state.query) written.current = null
  }, [state.query])
  const query = useDeferredValue(text)

  const all = data?.items
  const shown = useMemo(() => {
    const terms = parseSearch(query)
    const matching = all?.filter((vm) => matchesSearch(vm, terms, me)) ?? []
    return sortVms(matching, state.sort, state.descending)
  }, [all, query, me, state.sort, state.descending])
  const chosen = useMemo(() => shown.filter((vm) => selected.has(vm.id)), [shown, selected])

  const search = (value: string) => {
    setText(value)
    written.current = value === state.query ? null : value
    change({ query: value })
  }
  const clear = () => search('')
  const empty = all?.length === 0

  return (
    <Page>
      <PageHeader
        title={t('title')}
        note={
          all && !empty ? (
            <span className="figures max-sm:sr-only" role="status">
              {shown.length === all.length
                ? t('count', { shown: shown.length })
                : t('countOf', { shown: shown.length, all: all.length })}
            </span>
          ) : undefined
        }
        actions={
          canCreate ? (
            <ButtonLink href={paths.vmNew()} variant="primary">
              <Plus size={14} aria-hidden="true" />
              {t('create')}
            </ButtonLink>
          ) : (
            <Button variant="primary" icon={<Plus size={14} aria-hidden="true" />} disabledReason={tApp('notAllowed')}>
              {t('create')}
            </Button>
          )
        }
      />
      {error && !all ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : empty ? (
        <EmptyState
          title={t('empty.title')}
          actions={
            canCreate ? (
              <>
                <ButtonLink href={paths.vmNew()} variant="primary">
                  {t('create')}
                </ButtonLink>
                <ButtonLink href={paths.images()}>{t('empty.images')}</ButtonLink>
              </>
            ) : undefined
          }
        >
          {canCreate ? t('empty.body') : t('empty.viewer')}
        </EmptyState>
      ) : (
        <div className="flex flex-col gap-3">
          <div className="flex flex-wrap items-center gap-2 max-sm:gap-x-0">
            <div className="relative min-w-0 flex-1 basis-64 max-sm:basis-full md:max-w-md">
              <Search size={14} aria-hidden="true" className="absolute start-2.5 top-1/2 -translate-y-1/2 text-faint" />
              <input
                type="search"
                data-page-search=""
                aria-label={t('search')}
                aria-description={t('searchHint')}
                placeholder={t('searchPlaceholder')}
                autoComplete="off"
                spellCheck={false}
                value={text}
                onChange={(event) => search(event.target.value)}
                onKeyDown={(event) => {
                  if (event.key === 'Escape') {
                    event.preventDefault()
                    if (text) clear()
                    else event.currentTarget.blur()
                  }
                  if (event.key === 'ArrowDown') {
                    event.preventDefault()
                    document.querySelector<HTMLElement>('[data-row-link]')?.focus()
                  }
                }}
                className="touch h-8 w-full rounded-md border border-edge bg-surface ps-8 pe-8 placeholder:text-faint [&::-webkit-search-cancel-button]:hidden"
              />
              {text && (
                <IconButton
                  size="sm"
                  label={t('clear')}
                  onClick={clear}
                  className="absolute! end-0.5 top-1/2 -translate-y-1/2"
                >
                  <X size={14} aria-hidden="true" />
                </IconButton>
              )}
            </div>
            <fieldset aria-label={t('filter')} className="flex min-w-0 items-center gap-0.5 overflow-x-auto p-0.5">
              {FILTERS.map(([id, value]) => {
                const on = text.trim() === value
                return (
                  <Button
                    key={id}
                    variant="quiet"
                    aria-pressed={on}
                    className={cx('px-2! max-sm:px-1.5!', on && 'bg-selected text-ink!')}
                    onClick={() => search(value)}
                  >
                    {t(`filters.${id}`)}
                  </Button>
                )
              })}
            </fieldset>
            <ProjectFilter text={text} onText={search} />
            <div className="ms-auto flex items-center gap-1">
              {state.view === 'table' && <ColumnsMenu columns={columns} onColumns={setColumns} />}
              <fieldset aria-label={t('view')} className="flex items-center gap-0.5">
                <IconButton
                  label={t('table')}
                  aria-pressed={state.view === 'table'}
                  className={state.view === 'table' ? 'bg-selected text-ink!' : ''}
                  onClick={() => change({ view: 'table' })}
                >
                  <Rows3 size={16} aria-hidden="true" />
                </IconButton>
                <IconButton
                  label={t('grid')}
                  aria-pressed={state.view === 'grid'}
                  className={state.view === 'grid' ? 'bg-selected text-ink!' : ''}
                  onClick={() => change({ view: 'grid' })}
                >
                  <LayoutGrid size={16} aria-hidden="true" />
                </IconButton>
              </fieldset>
            </div>
          </div>
          {all && shown.length === 0 ? (
            <EmptyState title={t('noMatch.title')} actions={<Button onClick={clear}>{t('noMatch.clear')}</Button>}>
              {t('noMatch.body', { query })}
            </EmptyState>
          ) : state.view === 'grid' ? (
            <VmGrid vms={shown} loading={isPending} />
          ) : (
            <VmTable
              vms={shown}
              loading={isPending}
              columns={columns}
              sort={state.sort}
              descending={state.descending}
              onSort={(sort, descending) => change({ sort, descending })}
              selected={selected}
              onSelected={setSelected}
              bulk={chosen.length > 0 ? <BulkBar vms={chosen} onClear={() => setSelected(new Set())} /> : null}
            />
          )}
        </div>
      )}
    </Page>
  )
}
