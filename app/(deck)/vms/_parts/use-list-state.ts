'use client'
import { usePathname, useSearchParams } from 'next/navigation'
import { useCallback, useMemo } from 'react'
import { isVmColumn, type VmColumn } from '#lib/vm/sort.ts'

export interface ListState {
  readonly query: string
  readonly sort: VmColumn
  readonly descending: boolean
  readonly view: 'table' | 'grid'
}

/** What the list shows, kept in the address: it survives reloading, links and the back button. */
export function useListState(): [ListState, (change: Partial<ListState>) => void] {
  const params = useSearchParams()
  const path = usePathname()
  const state = useMemo<ListState>(() => {
    const sort = params.get('sort')
    return {
      query: params.get('q') ?? '',
      sort: isVmColumn(sort) ? sort : 'name',
      descending: params.get('dir') === 'desc',
      view: params.get('view') === 'grid' ? 'grid' : 'table',
    }
  }, [params])
  const change = useCallback(
    (part: Partial<ListState>) => {
      const next = { ...state, ...part }
      const search = new URLSearchParams()
      if (next.query) search.set('q', next.query)
      if (next.sort !== 'name') search.set('sort', next.sort)
      if (next.descending) search.set('dir', 'desc')
      if (next.view !== 'table') search.set('view', next.view)
      const text = search.toString()
      // Typing must not fill the history, and nothing has to be fetched: the router follows replaceState.
      window.history.replaceState(null, '', text ? `${path}?${text}` : path)
    },
    [state, path],
  )
  return [state, change]
}
