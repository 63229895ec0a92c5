'use client'
import { useT } from '#lib/client/i18n.tsx'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import type { LimitsHeld } from '#lib/schema/limits.ts'

/** Which limits the host's kernel really holds the guest to, and why not the others. */
export function LimitsNote({ held }: { readonly held: LimitsHeld }) {
  const t = useT(messages)
  if (held.reason !== null) return <span className="text-faint">{t('limits.none', { reason: held.reason })}</span>
  const holding = held.limits.filter((limit) => limit.holds && limit.value !== 'none')
  const failing = held.limits.filter((limit) => !limit.holds)
  return (
    <span className="flex flex-col gap-1">
      <span>{holding.map(({ id, value }) => t(`limits.${id}`, { value })).join(' · ')}</span>
      {[...new Set(failing.map(({ reason }) => reason))].map((reason) => (
        <span key={reason} className="text-faint text-sm">
          {t('limits.fails', {
            what: failing
              .filter((limit) => limit.reason === reason)
              .map(({ id }) => t(`limits.name.${id}`))
              .join(', '),
            reason: reason ?? '',
          })}
        </span>
      ))}
    </span>
  )
}
