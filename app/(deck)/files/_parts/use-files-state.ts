'use client'
import { usePathname, useSearchParams } from 'next/navigation'
import { useCallback, useMemo } from 'react'

/** What is looked at. */
export type FilesOf =
  | { readonly kind: 'image' | 'volume' | 'backup'; readonly id: string }
  | { readonly kind: 'snapshot'; readonly id: string; readonly vmId: string }

export interface FilesState {
  readonly of: FilesOf | null
  readonly device: string | null
  readonly part: number | null
  readonly path: string
  readonly offset: number
}

const wholeNumber = (text: string | null): number | null =>
  text !== null && /^\d{1,7}$/.test(text) ? Number(text) : null

/** Where the reader is, kept in the address: every folder has a link of its own, and back goes one folder back. */
export function useFilesState(): [FilesState, (change: Partial<Omit<FilesState, 'of'>>) => string] {
  const params = useSearchParams()
  const here = usePathname()
  const state = useMemo<FilesState>(() => {
    const [image, volume, backup, snapshot, vmId] = ['image', 'volume', 'backup', 'snapshot', 'vm'].map((key) =>
      params.get(key),
    )
    const of: FilesOf | null = image
      ? { kind: 'image', id: image }
      : volume
        ? { kind: 'volume', id: volume }
        : backup
          ? { kind: 'backup', id: backup }
          : snapshot && vmId
            ? { kind: 'snapshot', id: snapshot, vmId }
            : null
    return {
      of,
      device: params.get('device'),
      part: wholeNumber(params.get('part')),
      path: params.get('path') ?? '/',
      offset: wholeNumber(params.get('offset')) ?? 0,
    }
  }, [params])
  /** The address of another place on the same disk. */
  const addressOf = useCallback(
    (change: Partial<Omit<FilesState, 'of'>>) => {
      const { of, device, part, path, offset } = { ...state, offset: 0, ...change }
      const search = new URLSearchParams()
      if (of?.kind === 'snapshot') search.set('vm', of.vmId)
      if (of !== null) search.set(of.kind, of.id)
      if (device !== null) search.set('device', device)
      if (part !== null) search.set('part', String(part))
      if (path !== '/') search.set('path', path)
      if (offset > 0) search.set('offset', String(offset))
      return `${here}?${search}`
    },
    [state, here],
  )
  return [state, addressOf]
}
