'use client'
import { usePathname, useSearchParams } from 'next/navigation'
import { useCallback, useMemo } from 'react'

const KINDS = ['iso', 'disk'] as const
const PANELS = ['download', 'catalogue', 'register'] as const
type Panel = (typeof PANELS)[number]

export interface ImagesState {
  readonly query: string
  readonly kind: (typeof KINDS)[number] | null
  readonly use: 'used' | 'unused' | null
  /** Whose details are open. */
  readonly image: string | null
  /** Whose report is open. */
  readonly appliance: string | null
  readonly panel: Panel | null
}

const oneOf = <T extends string>(values: readonly T[], value: string | null): T | null =>
  values.find((known) => known === value) ?? null

/** What the page shows, kept in the address: it survives reloading, links and the back button. */
export function useImagesState(): [ImagesState, (change: Partial<ImagesState>) => void] {
  const params = useSearchParams()
  const path = usePathname()
  const state = useMemo<ImagesState>(
    () => ({
      query: params.get('q') ?? '',
      kind: oneOf(KINDS, params.get('kind')),
      use: oneOf(['used', 'unused'], params.get('use')),
      image: params.get('image'),
      appliance: params.get('appliance'),
      panel: oneOf(PANELS, params.get('panel')),
    }),
    [params],
  )
  const change = useCallback(
    (part: Partial<ImagesState>) => {
      const { query, kind, use, image, appliance, panel } = { ...state, ...part }
      const search = new URLSearchParams()
      if (query) search.set('q', query)
      if (kind) search.set('kind', kind)
      if (use) search.set('use', use)
      if (image) search.set('image', image)
      if (appliance) search.set('appliance', appliance)
      if (panel) search.set('panel', panel)
      const text = search.toString()
      const url = text ? `${path}?${text}` : path
      // Opening something is a step one can go back from; typing and closing are not.
      if (part.image || part.appliance || part.panel) window.history.pushState(null, '', url)
      else window.history.replaceState(null, '', url)
    },
    [state, path],
  )
  return [state, change]
}
