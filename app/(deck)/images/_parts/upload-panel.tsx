'use client'
import { useQueryClient } from '@tanstack/react-query'
import { Upload as UploadIcon } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { ProgressBar } from '#components/ui/meter.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { describeDetails, showToast } from '#lib/client/toasts.ts'
import { cancelUpload, type Upload, uploadImage, uploads } from '#lib/client/upload.ts'
import { useStore } from '#lib/client/use-store.ts'
import { formatBytes, formatDuration, formatRate } from '#lib/i18n/format.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'

/** A place to drop files, and what is on its way. */
export function UploadPanel() {
  const t = useT(messages)
  const client = useQueryClient()
  const list = useStore(uploads)
  const input = useRef<HTMLInputElement>(null)
  const [over, setOver] = useState(false)
  const busy = list.length > 0
  useEffect(() => {
    if (!busy) return
    const warn = (event: BeforeUnloadEvent) => event.preventDefault()
    addEventListener('beforeunload', warn)
    return () => removeEventListener('beforeunload', warn)
  }, [busy])

  const send = (files: FileList | null) => {
    for (const file of files ?? []) {
      uploadImage(file)
        .then((image) => {
          if (!image) {
            showToast({ kind: 'info', title: t('cancelled', { name: file.name }) })
            return
          }
          showToast({ kind: 'done', title: t('uploaded', { name: image.name }) })
          void client.invalidateQueries({ queryKey: ['imageList'] })
          void client.invalidateQueries({ queryKey: ['hostView'] })
        })
        .catch((cause: unknown) => {
          const error = toApiError(cause)
          showToast({
            kind: 'error',
            title: t('failed', { name: file.name }),
            message: error.code === 'network' ? t('lost') : error.message,
            details: error.code === 'network' ? undefined : describeDetails(error),
          })
        })
    }
    if (input.current) input.current.value = ''
  }

  return (
    <section id="upload" aria-label={t('upload')} className="flex flex-col gap-3">
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is an extra; the button inside does the same */}
      <div
        onDragOver={(event) => {
          event.preventDefault()
          setOver(true)
        }}
        onDragLeave={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false)
        }}
        onDrop={(event) => {
          event.preventDefault()
          setOver(false)
          send(event.dataTransfer.files)
        }}
        className={cx(
          'flex flex-wrap items-center justify-center gap-x-4 gap-y-3 rounded-md border border-dashed px-4 py-6',
          over ? 'border-accent bg-selected' : 'border-edge',
        )}
      >
        <UploadIcon size={20} aria-hidden="true" className="text-faint" />
        <span className="text-dim">{t(over ? 'dropNow' : 'drop')}</span>
        <Button onClick={() => input.current?.click()}>{t('choose')}</Button>
        <input
          ref={input}
          type="file"
          multiple
          accept=".iso,.img,.raw,.qcow2"
          aria-label={t('choose')}
          tabIndex={-1}
          className="sr-only"
          onChange={(event) => send(event.target.files)}
        />
      </div>
      {list.map((upload) => (
        <UploadLine key={upload.id} upload={upload} />
      ))}
    </section>
  )
}

function UploadLine({ upload }: { readonly upload: Upload }) {
  const t = useT(messages)
  const locale = useLocale()
  const { sentBytes, totalBytes, rate, state, name } = upload
  const done = formatBytes(sentBytes, locale)
  const total = formatBytes(totalBytes, locale)
  return (
    <div className="flex flex-col gap-1.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span className="min-w-0 flex-1 truncate font-medium">
          {t(state === 'checking' ? 'finishing' : 'uploading', { name })}
        </span>
        <span className="figures text-dim text-sm">
          {rate && state === 'sending'
            ? t('progress', {
                done,
                total,
                rate: formatRate(rate, locale),
                left: formatDuration((totalBytes - sentBytes) / rate, locale),
              })
            : t('progressStart', { done, total })}
        </span>
        <Button size="sm" onClick={() => cancelUpload(upload.id)}>
          {t('cancel')}
        </Button>
      </div>
      <ProgressBar
        label={t('uploading', { name })}
        value={state === 'checking' || totalBytes === 0 ? null : sentBytes / totalBytes}
      />
    </div>
  )
}
