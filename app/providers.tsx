'use client'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { type ReactNode, useEffect, useState } from 'react'
import { TooltipHost } from '#components/ui/tooltip-host.tsx'
import { ApiError, setSignedOutListener } from '#lib/client/api-client.ts'
import { LocaleProvider } from '#lib/client/i18n.tsx'
import type { Locale } from '#lib/i18n/locales.ts'

/** Worth another try: no answer at all, or a server that is busy. Refusals stay refusals. */
const isTransient = (error: unknown) => error instanceof ApiError && (error.status === 0 || error.status === 503)

const makeClient = () =>
  new QueryClient({
    defaultOptions: {
      queries: {
        // Events keep the caches current; this covers what has none and a page that slept.
        staleTime: 15_000,
        gcTime: 10 * 60_000,
        retry: (failures, error) => failures < 3 && isTransient(error),
        retryDelay: (attempt) => Math.min(400 * 2 ** attempt, 5_000),
      },
    },
  })

const NO_OVERRIDES = {}

export function Providers({ locale, children }: { readonly locale: Locale; readonly children: ReactNode }) {
  const [client] = useState(makeClient)
  useEffect(() => {
    // Asks again who is signed in; the gate of the deck acts on the answer.
    setSignedOutListener(() => void client.invalidateQueries({ queryKey: ['sessionView'] }))
    return () => setSignedOutListener(() => {})
  }, [client])
  return (
    <QueryClientProvider client={client}>
      <LocaleProvider locale={locale} overrides={NO_OVERRIDES}>
        {children}
        <TooltipHost />
      </LocaleProvider>
    </QueryClientProvider>
  )
}
