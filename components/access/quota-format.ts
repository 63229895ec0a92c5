/** Numbers of quotas as people read them. Pure. */
import { formatBytes, formatMiB, formatNumber } from '#lib/i18n/format.ts'
import type { QuotaItem } from '#lib/schema/quota.ts'
import { GIB } from '#lib/units.ts'

export function formatQuota(item: QuotaItem, value: number, locale: string): string {
  switch (item) {
    case 'memoryMiB':
    case 'runningMemoryMiB':
    case 'libraryMiB':
      return formatMiB(value, locale)
    case 'diskGiB':
    case 'backupGiB':
      return formatBytes(value * GIB, locale)
    default:
      return formatNumber(value, locale)
  }
}

/** Nine tenths or more: worth a look. */
export const isNearly = (used: number, limit: number | null): boolean => limit !== null && used >= limit * 0.9
