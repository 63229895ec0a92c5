/** A line of the last values. `max` is the top of the scale. Decorative: the current value stands beside it as text. */
export function Sparkline({
  values,
  max,
  points = 40,
  className = 'h-5 w-16',
}: {
  readonly values: readonly number[]
  readonly max: number
  /** Samples the whole width stands for. */
  readonly points?: number
  readonly className?: string
}) {
  const top = max > 0 ? max : 1
  const shown = values.slice(-points)
  const x = (index: number) => 100 - (shown.length - 1 - index) * (100 / (points - 1))
  const y = (value: number) => 19 - Math.min(1, Math.max(0, value / top)) * 18
  const line = shown.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(' ')
  return (
    <svg viewBox="0 0 100 20" preserveAspectRatio="none" className={className} aria-hidden="true">
      <path d="M0 19.5H100" className="stroke-line" strokeWidth="1" vectorEffect="non-scaling-stroke" />
      {shown.length > 1 && (
        <>
          <polygon points={`${x(0).toFixed(1)},20 ${line} 100,20`} className="fill-accent opacity-15" />
          <polyline
            points={line}
            fill="none"
            className="stroke-accent"
            strokeWidth="1.25"
            vectorEffect="non-scaling-stroke"
          />
        </>
      )}
    </svg>
  )
}
