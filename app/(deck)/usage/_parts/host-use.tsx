'use client'
import { MeterBar, type MeterPart } from '#components/ui/meter.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { usage as messages } from '#lib/i18n/messages/en/usage.ts'
import type { UsageView } from '#lib/schema/quota.ts'

/** What the host gives to running guests, and what it keeps. */
export function HostUse({ host }: { readonly host: UsageView['host'] }) {
  const t = useT(messages)
  const locale = useLocale()
  const { diskTotalBytes, diskFreeBytes, diskReserveBytes } = host
  const bars: { name: string; text: string; parts: MeterPart[] }[] = [
    {
      name: t('host.memory'),
      text: t('host.memoryText', {
        running: formatMiB(host.runningMemoryMiB, locale),
        reserve: formatMiB(host.memoryReserveMiB, locale),
        total: formatMiB(host.memoryMiB, locale),
      }),
      parts: [
        { label: t('host.running'), share: host.runningMemoryMiB / host.memoryMiB, tone: 'used' },
        { label: t('host.reserve'), share: host.memoryReserveMiB / host.memoryMiB, tone: 'promised' },
      ],
    },
    {
      name: t('host.cpus'),
      text: t('host.cpusText', { running: host.runningVcpus, total: host.cpus, most: host.vcpusMost }),
      parts: [{ label: t('host.running'), share: host.runningVcpus / host.vcpusMost, tone: 'used' }],
    },
  ]
  if (diskTotalBytes !== null && diskFreeBytes !== null) {
    const used = diskTotalBytes - diskFreeBytes
    bars.push({
      name: t('host.disk'),
      text: t('host.diskText', {
        used: formatBytes(used, locale),
        reserve: formatBytes(diskReserveBytes ?? 0, locale),
        total: formatBytes(diskTotalBytes, locale),
      }),
      parts: [
        { label: t('host.used'), share: used / diskTotalBytes, tone: 'used' },
        { label: t('host.reserve'), share: (diskReserveBytes ?? 0) / diskTotalBytes, tone: 'promised' },
      ],
    })
  }
  return (
    <Section title={t('host.title')}>
      <ul className="flex flex-col gap-3">
        {bars.map(({ name, text, parts }) => (
          <li key={name} className="flex flex-col gap-1">
            <span className="flex flex-wrap items-baseline gap-x-3">
              <span>{name}</span>
              <span className="figures text-dim text-sm">{text}</span>
            </span>
            <MeterBar label={`${name}: ${text}`} parts={parts} />
          </li>
        ))}
      </ul>
      <p className="text-faint text-sm">{t('host.reserveHint')}</p>
    </Section>
  )
}
