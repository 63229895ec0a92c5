'use client'
import { useQuery } from '@tanstack/react-query'
import { Disclosure } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { room as messages } from '#lib/i18n/messages/en/room.ts'
import type { Pool } from '#lib/schema/storage.ts'
import type { GuestKind } from '#lib/schema/vm-spec.ts'
import { GIB } from '#lib/units.ts'

const AWAY: ReadonlySet<Pool['state']> = new Set(['missing', 'unreachable', 'read-only'])

/** Which pool the file of a new disk shall lie in, with the room that is left there. */
export function PoolField({
  device,
  value,
  sizeGiB,
  error,
  onValue,
}: {
  readonly device: string
  /** Undefined: the default pool. */
  readonly value: string | undefined
  readonly sizeGiB: number | null
  readonly error: string | undefined
  readonly onValue: (pool: string) => void
}) {
  const t = useT(messages)
  const locale = useLocale()
  const pools = (useQuery(queries.poolList()).data?.items ?? []).filter(({ purposes }) => purposes.includes('disks'))
  const chosen = pools.find((pool) => (value === undefined ? pool.isDefault : pool.id === value))
  // With one pool there is nothing to choose, and the share below says what is left.
  if (pools.length < 2 || chosen === undefined) return null
  const { capacity, volumes } = chosen
  const isShort = capacity !== null && sizeGiB !== null && sizeGiB * GIB > capacity.usableBytes
  const size = (bytes: number) => formatBytes(bytes, locale)
  return (
    <Select
      label={t('pool')}
      aria-label={t('poolOf', { device })}
      value={chosen.id}
      error={error}
      hint={
        capacity === null
          ? undefined
          : isShort
            ? t('poolShort')
            : t('poolHint', { usable: size(capacity.usableBytes), growth: size(volumes.growthBytes) })
      }
      onChange={(event) => onValue(event.target.value)}
      options={pools.map((pool) => ({
        value: pool.id,
        label:
          pool.capacity === null || AWAY.has(pool.state)
            ? t('poolAway', { name: pool.name })
            : t('poolOption', { name: pool.name, free: size(pool.capacity.freeBytes) }),
        disabled: AWAY.has(pool.state),
      }))}
    />
  )
}

/** What is left to do inside the guest once a disk has become larger: of its system, or of each. */
export function AfterGrowth({ guest }: { readonly guest: GuestKind | null }) {
  const t = useT(messages)
  const kinds = guest === null ? (['linux', 'windows', 'bsd'] as const) : [guest]
  return (
    <Disclosure summary={t('inside.title')}>
      {kinds.map((kind) => (
        <p key={kind} className="mt-1 text-dim text-sm">
          {t(`inside.${kind}`)}
        </p>
      ))}
    </Disclosure>
  )
}
