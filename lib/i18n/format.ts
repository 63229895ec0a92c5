/**
 * Numbers, sizes and times as people read them. Pure: the clock and the locale are arguments.
 * Output is meant for tabular figures; units are separated by a no-break space so that they never wrap.
 */
const NBSP = '\u00a0'

const numberFormats = new Map<string, Intl.NumberFormat>()
function numberFormat(locale: string, digits: number): Intl.NumberFormat {
  const key = `${locale}/${digits}`
  let format = numberFormats.get(key)
  if (!format) {
    format = new Intl.NumberFormat(locale, { maximumFractionDigits: digits, minimumFractionDigits: 0 })
    numberFormats.set(key, format)
  }
  return format
}

/** A plain number with at most `digits` decimals. */
export const formatNumber = (value: number, locale = 'en', digits = 0) => numberFormat(locale, digits).format(value)

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Bytes in binary units, three significant figures at most: `1.5 GiB`, `512 MiB`, `0 B`. */
export function formatBytes(bytes: number, locale = 'en'): string {
  if (!Number.isFinite(bytes) || bytes < 0) return '–'
  let value = bytes
  let unit = 0
  // 1023.5 would print as "1,024 MiB": step up as soon as rounding would reach the next unit.
  while (value >= 1023.5 && unit < BINARY.length - 1) {
    value /= 1024
    unit += 1
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2
  return `${numberFormat(locale, digits).format(value)}${NBSP}${BINARY[unit]}`
}

/** Mebibytes in binary units. */
export const formatMiB = (mib: number, locale = 'en') => formatBytes(mib * 1024 * 1024, locale)

/** Bytes per second in binary units. */
export const formatRate = (bytesPerSecond: number, locale = 'en') => `${formatBytes(bytesPerSecond, locale)}/s`

/** A share from 0 to 1 as a whole percentage; above 1 stays above 100 %. */
export const formatPercent = (share: number, locale = 'en') =>
  Number.isFinite(share) ? `${numberFormat(locale, 0).format(Math.round(share * 100))}${NBSP}%` : '–'

const STEPS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const

const durationFormats = new Map<string, Intl.NumberFormat>()

/** A length of time in its largest unit and the next: `3d 4h`, `12m 5s`, `1d`, `0s`. Negative counts as zero. */
export function formatDuration(seconds: number, locale = 'en'): string {
  const whole = Math.max(0, Math.floor(seconds))
  const largest = STEPS.findIndex(([, size]) => whole >= size)
  const parts: string[] = []
  let rest = whole
  for (const [unit, size] of largest < 0 ? STEPS.slice(-1) : STEPS.slice(largest, largest + 2)) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count === 0 && parts.length > 0) break
    const key = `${locale}/${unit}`
    let format = durationFormats.get(key)
    if (!format) {
      format = new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'narrow' })
      durationFormats.set(key, format)
    }
    parts.push(format.format(count).replace(/\s/gu, NBSP))
  }
  return parts.join(' ')
}

const relativeFormats = new Map<string, Intl.RelativeTimeFormat>()

/** An instant as seen from `now`: `just now`, `5 minutes ago`, `in 2 hours`; beyond 30 days the date itself. */
export function formatRelative(instant: string | Date, now: Date, locale = 'en'): string {
  const then = typeof instant === 'string' ? new Date(instant) : instant
  const seconds = Math.round((then.getTime() - now.getTime()) / 1000)
  if (Number.isNaN(seconds)) return '–'
  let format = relativeFormats.get(locale)
  if (!format) {
    format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })
    relativeFormats.set(locale, format)
  }
  const size = Math.abs(seconds)
  if (size < 10) return format.format(0, 'second')
  if (size < 60) return format.format(seconds, 'second')
  if (size < 3_600) return format.format(Math.trunc(seconds / 60), 'minute')
  if (size < 86_400) return format.format(Math.trunc(seconds / 3_600), 'hour')
  if (size < 30 * 86_400) return format.format(Math.trunc(seconds / 86_400), 'day')
  return new Intl.DateTimeFormat(locale, { dateStyle: 'medium' }).format(then)
}

/** Date and time to the second in the reader's zone. */
export const formatAbsolute = (instant: string | Date, locale = 'en') => {
  const then = typeof instant === 'string' ? new Date(instant) : instant
  return Number.isNaN(then.getTime())
    ? '–'
    : new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(then)
}
