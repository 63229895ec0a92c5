'use client'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Spinner } from '#components/ui/spinner.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useNow } from '#lib/client/use-now.ts'
import { formatDuration } from '#lib/i18n/format.ts'
import { files as messages } from '#lib/i18n/messages/en/files.ts'
import type { DiskFiles } from '#lib/schema/disk-files.ts'

interface PreparingProps {
  readonly preparing: NonNullable<DiskFiles['preparing']>
  readonly onCancel: () => void
}

/** The small system that reads this part is on its way. */
export function Preparing({ preparing, onCancel }: PreparingProps) {
  const t = useT(messages)
  const locale = useLocale()
  const now = useNow()
  return (
    <Banner
      tone="info"
      actions={
        <Button size="sm" onClick={onCancel}>
          {t('preparing.cancel')}
        </Button>
      }
    >
      <span className="flex items-start gap-2">
        <Spinner />
        <span className="min-w-0">
          <span role="status">{t(`preparing.${preparing.step}`)}</span>{' '}
          <span className="figures whitespace-nowrap text-dim">
            {t('preparing.since', { time: formatDuration((now - Date.parse(preparing.startedAt)) / 1000, locale) })}
          </span>
        </span>
      </span>
    </Banner>
  )
}

export function Stopped({ onOpen }: { readonly onOpen: () => void }) {
  const t = useT(messages)
  return (
    <Banner
      tone="info"
      actions={
        <Button size="sm" onClick={onOpen}>
          {t('preparing.open')}
        </Button>
      }
    >
      {t('preparing.stopped')}
    </Banner>
  )
}
