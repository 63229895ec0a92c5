/** Activity page by page. Kept beside `queries.ts` because it is the only read that grows. */
import { infiniteQueryOptions } from '@tanstack/react-query'
import { call } from './api-client.ts'

const PAGE_LINES = 50

/** `from` and `until` are instants. */
export interface Search {
  readonly text?: string
  readonly who?: string
  readonly from?: string
  readonly until?: string
}

/** Newest first; `vmId` null for everything the reader may see. The key starts with the operation, as all do. */
export const activityPages = (vmId: string | null, search: Search = {}) =>
  infiniteQueryOptions({
    queryKey: vmId === null ? ['activityList', 'pages', search] : ['vmActivity', 'pages', vmId],
    initialPageParam: undefined as number | undefined,
    queryFn: ({ pageParam, signal }) => {
      const query = pageParam === undefined ? { limit: PAGE_LINES } : { limit: PAGE_LINES, before: pageParam }
      return vmId === null
        ? call('activityList', { query: { ...query, ...search } }, { signal })
        : call('vmActivity', { params: { id: vmId }, query }, { signal })
    },
    getNextPageParam: (page) => (page.items.length < PAGE_LINES ? undefined : page.items.at(-1)?.id),
  })
