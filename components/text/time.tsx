'use client'
import { useLocale } from '#lib/client/i18n.tsx'
import { useNow } from '#lib/client/use-now.ts'
import { formatAbsolute, formatDuration, formatRelative } from '#lib/i18n/format.ts'

/** An instant relative to now, the absolute on hover, in the reader's zone. */
export function Time({ at }: { readonly at: string }) {
  const now = useNow()
  const locale = useLocale()
  // The server knows neither the reader's clock nor zone.
  if (now === 0) return <time dateTime={at} />
  return (
    <time dateTime={at} data-tip={formatAbsolute(at, locale)} className="figures whitespace-nowrap">
      {formatRelative(at, new Date(now), locale)}
    </time>
  )
}

/** How long since an instant, counting on. */
export function Elapsed({ since }: { readonly since: string }) {
  const now = useNow()
  const locale = useLocale()
  if (now === 0) return <time dateTime={since} />
  return (
    <time dateTime={since} data-tip={formatAbsolute(since, locale)} className="figures whitespace-nowrap">
      {formatDuration((now - new Date(since).getTime()) / 1000, locale)}
    </time>
  )
}
