'use client'
import { Upload } from 'lucide-react'
import { useEffect, useId, useRef, useState } from 'react'
import { Button, buttonClass } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { Banner } from '#components/ui/feedback.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { type UploadProgress, uploadImage } from '#lib/client/upload-image.ts'
import { formatBytes, formatDuration, formatRate } from '#lib/i18n/format.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import type { Image } from '#lib/schema/image.ts'

const ACCEPT = '.iso,.img,.raw,.qcow2'

/** Takes a file by button or by dropping it, and shows how far it is. Leaving the page ends the upload. */
export function UploadBox({ onUploaded }: { readonly onUploaded: (image: Image) => void }) {
  const t = useT(create)
  const canAdd = useCan('image.add')
  const inputId = useId()
  const [upload, setUpload] = useState<{ readonly name: string; readonly progress: UploadProgress | null } | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const [over, setOver] = useState(false)
  const running = useRef<AbortController | null>(null)
  useEffect(() => () => running.current?.abort(), [])

  const send = async (file: File | undefined) => {
    if (file === undefined || running.current !== null || !canAdd) return
    const abort = new AbortController()
    running.current = abort
    setFailure(null)
    setUpload({ name: file.name, progress: null })
    try {
      const image = await uploadImage(file, {
        signal: abort.signal,
        onProgress: (progress) => setUpload({ name: file.name, progress }),
      })
      onUploaded(image)
    } catch (cause) {
      if (!abort.signal.aborted) setFailure(toApiError(cause).message)
    } finally {
      running.current = null
      setUpload(null)
    }
  }
  return (
    <section
      aria-label={t('boot.upload')}
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        void send(event.dataTransfer.files[0])
      }}
      className={cx(
        'flex flex-col gap-2 rounded-md border border-edge border-dashed p-3',
        over && canAdd && 'border-accent bg-selected',
      )}
    >
      {upload === null ? (
        <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
          {canAdd ? (
            <>
              <input
                id={inputId}
                type="file"
                accept={ACCEPT}
                className="peer sr-only"
                onChange={(event) => {
                  void send(event.target.files?.[0])
                  // The same file can be chosen again after a failure.
                  event.target.value = ''
                }}
              />
              <label
                htmlFor={inputId}
                className={cx(
                  buttonClass(),
                  'peer-focus-visible:outline-2 peer-focus-visible:outline-focus peer-focus-visible:outline-offset-1',
                )}
              >
                <Upload size={15} aria-hidden="true" />
                {t('boot.choose')}
              </label>
            </>
          ) : (
            <Button icon={<Upload size={15} aria-hidden="true" />} disabledReason={t('boot.uploadForbidden')}>
              {t('boot.choose')}
            </Button>
          )}
          <span className="min-w-0 flex-1 basis-48 text-faint text-sm">
            <span className="font-medium text-dim">{t('boot.upload')}.</span> {t('boot.uploadHint')}
          </span>
        </div>
      ) : (
        <Running name={upload.name} progress={upload.progress} onCancel={() => running.current?.abort()} />
      )}
      {failure && (
        <Banner tone="error">
          <span className="font-medium">{t('boot.uploadFailed')}.</span> {failure}
        </Banner>
      )}
    </section>
  )
}

function Running({
  name,
  progress,
  onCancel,
}: {
  readonly name: string
  readonly progress: UploadProgress | null
  readonly onCancel: () => void
}) {
  const t = useT(create)
  const locale = useLocale()
  const total = progress?.totalBytes ?? 0
  const sent = progress?.sentBytes ?? 0
  const rate = progress?.bytesPerSecond ?? 0
  const done = progress !== null && sent >= total
  return (
    <div className="flex flex-col gap-2">
      <div className="flex items-center gap-3">
        <span className="min-w-0 flex-1 truncate font-medium">{t('boot.uploading', { name })}</span>
        <Button size="sm" onClick={onCancel}>
          {t('boot.cancelUpload')}
        </Button>
      </div>
      <ProgressBar label={t('boot.uploading', { name })} value={done || total === 0 ? null : sent / total} />
      <p className="figures text-faint text-sm">
        {done
          ? t('boot.uploadChecking', { total: formatBytes(total, locale) })
          : t('boot.uploadProgress', {
              sent: formatBytes(sent, locale),
              total: formatBytes(total, locale),
              rate: rate === 0 ? '–' : formatRate(rate, locale),
              left: rate === 0 ? '–' : formatDuration((total - sent) / rate, locale),
            })}
      </p>
    </div>
  )
}
