'use client'
import { Badge, type BadgeTone } from '#components/ui/badge.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { Appliance, ImportNote } from '#lib/schema/appliance.ts'

const TONE: Record<ImportNote['fate'], BadgeTone> = { kept: 'plain', changed: 'accent', dropped: 'attention' }
/** What was lost comes first. */
const ORDER: readonly ImportNote['fate'][] = ['dropped', 'changed', 'kept']

/** Everything a description named, and what became of it. */
export function ApplianceReport({ report }: { readonly report: Appliance['report'] }) {
  const t = useT(messages)
  const notes = ORDER.flatMap((fate) => report.filter((note) => note.fate === fate))
  return (
    <ul className="flex flex-col">
      {notes.map((note, index) => (
        <li
          // biome-ignore lint/suspicious/noArrayIndexKey: the list never changes, and its lines may be alike
          key={index}
          className="flex flex-wrap items-baseline gap-x-3 gap-y-0.5 border-line border-b py-2 last:border-0"
        >
          <span className="w-20 shrink-0">
            <Badge tone={TONE[note.fate]}>{t(`appliances.fate.${note.fate}`)}</Badge>
          </span>
          <span className="min-w-0 flex-1 basis-48">
            <span className="break-words font-medium">{note.what}</span>
            <span className="block break-words text-dim text-sm">{note.detail}</span>
          </span>
        </li>
      ))}
    </ul>
  )
}
