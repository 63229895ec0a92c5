'use client'
import { useT } from '#lib/client/i18n.tsx'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { PendingChange } from '#lib/schema/vm-state.ts'
import { useChangeWords } from './use-change-words.ts'

/** One difference in a line: the name, then what becomes of it. */
export function ChangeLine({ change }: { readonly change: PendingChange }) {
  const t = useT(devicesPage)
  const { name, kind, parts } = useChangeWords()(change)
  return (
    <span className="min-w-0 [overflow-wrap:anywhere]">
      <span className="font-medium text-ink">{name}</span>{' '}
      {kind === 'changed' ? (
        parts.map((part, n) => (
          // Places of parts are all that tells two of the same name apart.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <span key={n}>
            {n > 0 && '; '}
            {part.label === name
              ? t('editor.values', { from: part.from, to: part.to })
              : t('editor.from', { label: part.label, from: part.from, to: part.to })}
          </span>
        ))
      ) : (
        <span>{t(kind === 'added' ? 'editor.added' : 'editor.gone2')}</span>
      )}
    </span>
  )
}
