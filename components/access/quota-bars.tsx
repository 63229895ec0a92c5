'use client'
import { cx } from '#components/ui/cx.ts'
import { MeterBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { quotas as messages } from '#lib/i18n/messages/en/quotas.ts'
import { QUOTA_ITEMS, type QuotaItem, type QuotaLimits, type QuotaUse } from '#lib/schema/quota.ts'
import { formatQuota, isNearly } from './quota-format.ts'

/** What is used of each limit. `more`: what would come on top. */
export function QuotaBars({
  used,
  limits,
  more,
  items = QUOTA_ITEMS,
  className = 'sm:grid-cols-2 xl:grid-cols-3',
}: {
  readonly used: QuotaUse
  readonly limits: QuotaLimits
  readonly more?: Partial<QuotaUse>
  readonly items?: readonly QuotaItem[]
  readonly className?: string
}) {
  const t = useT(messages)
  const locale = useLocale()
  return (
    <ul className={cx('grid gap-x-6 gap-y-3', className)}>
      {items.map((item) => {
        const limit = limits[item]
        const added = more?.[item] ?? 0
        const [now, whole] = [used[item], used[item] + added]
        const words = {
          used: formatQuota(item, whole, locale),
          limit: formatQuota(item, limit ?? 0, locale),
        }
        const isOver = limit !== null && whole > limit
        const share = (value: number) => (limit === null ? 0 : limit === 0 ? (value > 0 ? 1 : 0) : value / limit)
        const tone = isNearly(whole, limit) ? 'attention' : 'used'
        return (
          <li key={item} className="flex min-w-0 flex-col gap-1">
            <span className="flex flex-wrap items-baseline gap-x-2">
              <span className="text-dim">{t(`item.${item}`)}</span>
              <span className={cx('figures ms-auto', isOver && 'font-medium text-crashed')}>
                {limit === null ? t('noLimit', { used: words.used }) : t('ofLimit', words)}
              </span>
            </span>
            {limit !== null && (
              <MeterBar
                label={t('bar', { item: t(`item.${item}`), ...words })}
                parts={[
                  { label: t('usedPart'), share: share(now), tone },
                  { label: t('newPart'), share: share(added), tone: 'promised' },
                ]}
              />
            )}
          </li>
        )
      })}
    </ul>
  )
}
