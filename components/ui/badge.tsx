import type { ReactNode } from 'react'
import { cx } from './cx.ts'

export type BadgeTone = 'plain' | 'attention' | 'accent' | 'running' | 'crashed'
const TONE: Record<BadgeTone, string> = {
  plain: 'border-line text-dim',
  attention: 'border-attention text-attention',
  accent: 'border-accent text-accent',
  running: 'border-running text-running',
  crashed: 'border-crashed text-crashed',
}

export const badgeClass = (tone: BadgeTone = 'plain') =>
  cx('inline-flex h-5 max-w-full items-center gap-1 truncate rounded-sm border px-1.5 text-xs', TONE[tone])

/** A short word about something, outlined. */
export function Badge({
  tone = 'plain',
  children,
  tip,
}: {
  readonly tone?: BadgeTone
  readonly children: ReactNode
  readonly tip?: string | undefined
}) {
  return (
    <span className={badgeClass(tone)} data-tip={tip}>
      {children}
    </span>
  )
}
