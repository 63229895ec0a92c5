import type { VmState } from '#lib/schema/vm-state.ts'
import { cx } from './cx.ts'

/** The shapes of states; each is told apart without colour. */
export type Mark = 'running' | 'paused' | 'off' | 'changing' | 'attention' | 'crashed'

export const MARK_OF_STATE: Record<VmState, Mark> = {
  off: 'off',
  starting: 'changing',
  running: 'running',
  paused: 'paused',
  stopping: 'changing',
  saving: 'changing',
  migrating: 'changing',
  crashed: 'crashed',
  unmanageable: 'attention',
}

const COLOUR: Record<Mark, string> = {
  running: 'text-running',
  paused: 'text-paused',
  off: 'text-off',
  changing: 'text-changing',
  attention: 'text-attention',
  crashed: 'text-crashed',
}

/** Filled dot, bars, ring, spinner, triangle, cross. Decorative: a word always stands with it. */
export function MarkIcon({ mark, className = 'size-3' }: { readonly mark: Mark; readonly className?: string }) {
  const svg = cx(className, 'shrink-0', COLOUR[mark])
  switch (mark) {
    case 'running':
      return (
        <svg viewBox="0 0 12 12" className={svg} aria-hidden="true">
          <circle cx="6" cy="6" r="4.5" fill="currentColor" />
        </svg>
      )
    case 'paused':
      return (
        <svg viewBox="0 0 12 12" className={svg} aria-hidden="true">
          <path d="M2.5 2h2.5v8H2.5zM7 2h2.5v8H7z" fill="currentColor" />
        </svg>
      )
    case 'off':
      return (
        <svg viewBox="0 0 12 12" className={svg} aria-hidden="true">
          <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" strokeWidth="1.5" />
        </svg>
      )
    case 'changing':
      return (
        <svg viewBox="0 0 12 12" className={cx(svg, 'animate-spin')} aria-hidden="true" fill="none">
          <circle cx="6" cy="6" r="4.25" stroke="currentColor" strokeOpacity="0.3" strokeWidth="1.5" />
          <path d="M10.25 6A4.25 4.25 0 0 0 6 1.75" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" />
        </svg>
      )
    case 'attention':
      return (
        <svg viewBox="0 0 12 12" className={svg} aria-hidden="true">
          <path d="M6 1 11.5 11H.5Z" fill="currentColor" />
        </svg>
      )
    case 'crashed':
      return (
        <svg viewBox="0 0 12 12" className={svg} aria-hidden="true">
          <path d="m2.5 2.5 7 7m0-7-7 7" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />
        </svg>
      )
  }
}

/** Shape and word of a state. */
export function StateMark({
  mark,
  word,
  className,
}: {
  readonly mark: Mark
  readonly word: string
  readonly className?: string
}) {
  return (
    <span className={cx('inline-flex items-center gap-1.5 whitespace-nowrap', COLOUR[mark], className)}>
      <MarkIcon mark={mark} />
      {word}
    </span>
  )
}
