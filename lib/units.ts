/** Units of size and time for people. Bytes and MiB inside, formatted here and only here, at the edge. */

export const KIB = 1024
export const MIB = 1024 ** 2
export const GIB = 1024 ** 3

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Three significant digits, no trailing zeros: 1536 → `1.5 KiB`. Negative, NaN and infinite values give `–`. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return '–'
  let value = bytes
  let unit = 0
  // 1023.5 would round to "1020 KiB" at three digits, so the step up happens a little early.
  while (value >= 999.5 && unit < BINARY.length - 1) {
    value /= 1024
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${Number(value.toFixed(digits))} ${BINARY[unit]}`
}

/** Memory amounts keep whole numbers where they are whole: 512 → `512 MiB`, 2048 → `2 GiB`, 1536 → `1.5 GiB`. */
export function formatMiB(mib: number): string {
  if (Number.isFinite(mib) && mib >= 0 && mib < 1024) return `${Number(mib.toFixed(mib < 10 ? 1 : 0))} MiB`
  return formatBytes(mib * MIB)
}

export function formatGiB(gib: number): string {
  return formatBytes(gib * GIB)
}

export function formatBytesPerSecond(bytesPerSecond: number): string {
  const text = formatBytes(bytesPerSecond)
  return text === '–' ? text : `${text}/s`
}

/** Share of one (0 to 1, more for several CPUs) as a whole per cent: 0.034 → `3 %`. */
export function formatShare(share: number): string {
  return Number.isFinite(share) ? `${Math.round(share * 100)} %` : '–'
}

/** Two largest units: 93784 s → `1 d 2 h`, 65 s → `1 min 5 s`, 0.4 s → `0 s`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–'
  let rest = Math.floor(seconds)
  const parts: string[] = []
  for (const [size, unit] of [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${count} ${unit}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.length === 0 ? '0 s' : parts.join(' ')
}

/** Smallest whole GiB that holds `bytes`. */
export function ceilGiB(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / GIB))
}
