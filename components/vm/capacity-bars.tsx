'use client'
import { Skeleton } from '#components/ui/feedback.tsx'
import { MeterBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatBytes, formatMiB, formatNumber } from '#lib/i18n/format.ts'
import { overview as messages } from '#lib/i18n/messages/en/overview.ts'
import type { Capacity } from '#lib/schema/host.ts'
import { capacityShares } from '#lib/vm/capacity.ts'

/** CPU, memory and disk as used, promised and free; numbers first, the bars are for the eye. */
export function CapacityBars({ capacity }: { readonly capacity: Capacity | undefined }) {
  const t = useT(messages)
  const locale = useLocale()
  if (!capacity)
    return (
      <div className="flex flex-col gap-4">
        {[0, 1, 2].map((bar) => (
          <Skeleton key={bar} className="h-11 w-full" />
        ))}
      </div>
    )
  const { cpus, memory, disk } = capacity
  const usedMiB = memory.totalMiB - memory.availableMiB
  const usedBytes = disk.totalBytes - disk.freeBytes
  const bars = [
    {
      name: t('capacity.cpu'),
      total: String(cpus.total),
      used: formatNumber(cpus.load, locale, 1),
      usedText: t('capacity.cpuUsed', { load: formatNumber(cpus.load, locale, 1), total: cpus.total }),
      promised: String(cpus.promised),
      promisedText: t('capacity.cpuPromised', { promised: String(cpus.promised) }),
      shares: capacityShares(cpus.load, cpus.promised, cpus.total),
    },
    {
      name: t('capacity.memory'),
      total: formatMiB(memory.totalMiB, locale),
      used: formatMiB(usedMiB, locale),
      usedText: t('capacity.ofUsed', { used: formatMiB(usedMiB, locale), total: formatMiB(memory.totalMiB, locale) }),
      promised: formatMiB(memory.promisedMiB, locale),
      promisedText: t('capacity.promisedAmount', { promised: formatMiB(memory.promisedMiB, locale) }),
      shares: capacityShares(usedMiB, memory.promisedMiB, memory.totalMiB),
    },
    {
      name: t('capacity.disk'),
      total: formatBytes(disk.totalBytes, locale),
      used: formatBytes(usedBytes, locale),
      usedText: t('capacity.ofUsed', {
        used: formatBytes(usedBytes, locale),
        total: formatBytes(disk.totalBytes, locale),
      }),
      promised: formatBytes(disk.promisedBytes, locale),
      promisedText: t('capacity.promisedAmount', { promised: formatBytes(disk.promisedBytes, locale) }),
      shares: capacityShares(usedBytes, disk.promisedBytes, disk.totalBytes),
    },
  ]
  return (
    <div className="flex flex-col gap-4">
      {bars.map((bar) => (
        <div key={bar.name} className="flex flex-col gap-1.5">
          <div className="flex flex-wrap items-baseline gap-x-3">
            <span className="font-medium">{bar.name}</span>
            <span className="figures text-dim">{bar.usedText}</span>
            <span className="figures ms-auto text-faint text-sm">{bar.promisedText}</span>
          </div>
          <MeterBar
            label={t('capacity.bar', { name: bar.name, used: bar.used, promised: bar.promised, total: bar.total })}
            parts={[
              { label: t('capacity.used'), share: bar.shares.used, tone: bar.shares.full ? 'attention' : 'used' },
              { label: t('capacity.promised'), share: bar.shares.promised, tone: 'promised' },
            ]}
          />
        </div>
      ))}
      <p className="flex flex-wrap items-center gap-x-4 text-faint text-sm">
        <span className="inline-flex items-center gap-1.5">
          <span aria-hidden="true" className="h-2 w-3 rounded-sm bg-accent-fill" />
          {t('capacity.used')}
        </span>
        <span className="inline-flex items-center gap-1.5">
          <span
            aria-hidden="true"
            className="h-2 w-3 rounded-sm border border-line bg-[repeating-linear-gradient(135deg,var(--color-edge)_0_2px,transparent_2px_5px)]"
          />
          {t('capacity.promised')}
        </span>
        <span className="inline-flex items-center gap-1.5">
          <span aria-hidden="true" className="h-2 w-3 rounded-sm border border-line bg-sunken" />
          {t('capacity.free')}
        </span>
      </p>
    </div>
  )
}
