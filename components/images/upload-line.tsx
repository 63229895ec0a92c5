'use client'
import { Button } from '#components/ui/button.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { cancelUpload, continueUpload, pauseUpload, type Upload } from '#lib/client/upload.ts'
import { formatBytes, formatDuration, formatRate } from '#lib/i18n/format.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'

/** A file on its way: how far, how fast, how long; pause, go on, cancel. */
export function UploadLine({ upload }: { readonly upload: Upload }) {
  const t = useT(messages)
  const locale = useLocale()
  const { sentBytes, totalBytes, rate, state, name, step } = upload
  const done = formatBytes(sentBytes, locale)
  const total = formatBytes(totalBytes, locale)
  const says =
    state === 'checking'
      ? (step ?? t('finishing'))
      : state === 'paused' || state === 'broken'
        ? t(state === 'paused' ? 'paused' : 'broken', { done, total })
        : rate && state === 'sending'
          ? t('progress', {
              done,
              total,
              rate: formatRate(rate, locale),
              left: formatDuration((totalBytes - sentBytes) / rate, locale),
            })
          : t('progressStart', { done, total })
  const stands = state === 'paused' || state === 'broken'
  return (
    <li className="flex flex-col gap-1.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span className="min-w-0 flex-1 basis-40 truncate font-medium">{name}</span>
        <span className="figures text-dim text-sm">{says}</span>
        <span className="flex gap-2">
          {stands && (
            <Button size="sm" aria-label={t('goOnNamed', { name })} onClick={() => continueUpload(upload.key)}>
              {t('goOn')}
            </Button>
          )}
          {state === 'sending' && (
            <Button size="sm" aria-label={t('pauseNamed', { name })} onClick={() => pauseUpload(upload.key)}>
              {t('pause')}
            </Button>
          )}
          <Button size="sm" aria-label={t('cancelNamed', { name })} onClick={() => cancelUpload(upload.key)}>
            {t('cancel')}
          </Button>
        </span>
      </div>
      <ProgressBar
        label={t('uploading', { name })}
        value={state === 'checking' || totalBytes === 0 ? null : sentBytes / totalBytes}
      />
    </li>
  )
}
