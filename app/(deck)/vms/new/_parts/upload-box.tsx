'use client'
import { Upload } from 'lucide-react'
import { useId, useState } from 'react'
import { UploadLine } from '#components/images/upload-line.tsx'
import { ACCEPT, useUploadFiles } from '#components/images/use-upload-files.ts'
import { Button, buttonClass } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { uploads } from '#lib/client/upload.ts'
import { useStore } from '#lib/client/use-store.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import type { Image } from '#lib/schema/image.ts'

/** Takes a file by button or by dropping it, and shows how far it is. It goes on when the page is left. */
export function UploadBox({ onUploaded }: { readonly onUploaded: (image: Image) => void }) {
  const t = useT(create)
  const canAdd = useCan('image.add')
  const inputId = useId()
  const list = useStore(uploads)
  const [over, setOver] = useState(false)
  const upload = useUploadFiles(onUploaded)
  const send = (file: File | undefined) => {
    if (file !== undefined && canAdd) upload([file])
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
        send(event.dataTransfer.files[0])
      }}
      className={cx(
        'flex flex-col gap-2 rounded-md border border-edge border-dashed p-3',
        over && canAdd && 'border-accent bg-selected',
      )}
    >
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        {canAdd ? (
          <>
            <input
              id={inputId}
              type="file"
              accept={ACCEPT}
              className="peer sr-only"
              onChange={(event) => {
                send(event.target.files?.[0])
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
      {list.length > 0 && (
        <ul className="flex flex-col gap-3">
          {list.map((one) => (
            <UploadLine key={one.key} upload={one} />
          ))}
        </ul>
      )}
    </section>
  )
}
