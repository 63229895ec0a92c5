'use client'
import { Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { activity as messages } from '#lib/i18n/messages/en/activity.ts'
import { paths } from '#lib/paths.ts'
import type { ActivityEntry } from '#lib/schema/event.ts'

const MARK = { ok: 'running', info: 'off', denied: 'attention', failed: 'crashed' } as const

const target = (entry: ActivityEntry): string | null => {
  if (entry.topic === 'vm' && entry.objectId) return paths.vm(entry.objectId)
  if (entry.topic === 'image') return paths.images()
  if (entry.topic === 'user') return paths.people()
  return entry.topic === 'host' ? paths.host() : null
}

/** Lines of what happened, newest first. */
export function ActivityList({
  entries,
  linkObjects = true,
}: {
  readonly entries: readonly ActivityEntry[] | undefined
  readonly linkObjects?: boolean
}) {
  const t = useT(messages)
  if (!entries)
    return (
      <div className="flex flex-col">
        {[0, 1, 2, 3, 4].map((line) => (
          <div key={line} className="flex h-9 items-center border-line border-b">
            <Skeleton className="h-4 w-2/3" />
          </div>
        ))}
      </div>
    )
  return (
    <ul className="flex flex-col">
      {entries.map((entry) => {
        const href = linkObjects ? target(entry) : null
        return (
          <li
            key={entry.id}
            className="grid min-h-9 grid-cols-[1rem_minmax(0,1fr)_auto] items-baseline gap-x-2 border-line border-b py-2 [contain-intrinsic-size:auto_2.25rem] [content-visibility:auto]"
          >
            <span className="self-center">
              <MarkIcon mark={MARK[entry.result]} className="size-2.5" />
              <span className="sr-only">{t(`result.${entry.result}`)}</span>
            </span>
            <span className="min-w-0 break-words">
              {href ? (
                <Link href={href} className="text-ink!">
                  {entry.text}
                </Link>
              ) : (
                entry.text
              )}
              {entry.from && <span className="ms-2 font-mono text-faint text-xs max-sm:hidden">{entry.from}</span>}
            </span>
            <span className="text-faint text-sm">
              <Time at={entry.at} />
            </span>
          </li>
        )
      })}
    </ul>
  )
}
