import { cx } from './cx.ts'

export interface MeterPart {
  readonly label: string
  /** Share of the whole, 0 to 1. */
  readonly share: number
  readonly tone: 'used' | 'promised' | 'attention'
}

const TONE: Record<MeterPart['tone'], string> = {
  used: 'bg-accent-fill',
  promised: 'bg-[repeating-linear-gradient(135deg,var(--color-edge)_0_2px,transparent_2px_5px)]',
  attention: 'bg-attention',
}

/**
 * A bar of parts laid end to end. Purely for the eye: it carries `label` as its text alternative, and the numbers
 * belong beside it as text.
 */
export function MeterBar({
  label,
  parts,
  className,
}: {
  readonly label: string
  readonly parts: readonly MeterPart[]
  readonly className?: string
}) {
  let left = 1
  return (
    <div
      role="img"
      aria-label={label}
      className={cx('flex h-2 w-full overflow-hidden rounded-sm border border-line bg-sunken', className)}
    >
      {parts.map((part) => {
        const share = Math.min(left, Math.max(0, part.share))
        left -= share
        return <span key={part.label} style={{ width: `${share * 100}%` }} className={cx('h-full', TONE[part.tone])} />
      })}
    </div>
  )
}

/** Progress of work; `value` from 0 to 1, or null while the end is unknown. */
export function ProgressBar({
  label,
  value,
  className,
}: {
  readonly label: string
  readonly value: number | null
  readonly className?: string
}) {
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(value === null ? {} : { 'aria-valuenow': Math.round(value * 100) })}
      className={cx('h-1.5 w-full overflow-hidden rounded-full bg-sunken', className)}
    >
      <span
        className={cx('block h-full rounded-full bg-accent-fill', value === null && 'w-1/3 animate-pulse')}
        style={value === null ? undefined : { width: `${Math.min(1, Math.max(0, value)) * 100}%` }}
      />
    </div>
  )
}
