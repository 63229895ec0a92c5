'use client'
import { Upload as UploadIcon } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { UploadLine } from '#components/images/upload-line.tsx'
import { ACCEPT, useUploadFiles } from '#components/images/use-upload-files.ts'
import { Button } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { useT } from '#lib/client/i18n.tsx'
import { uploads } from '#lib/client/upload.ts'
import { useStore } from '#lib/client/use-store.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { UnfinishedUploads } from './unfinished-uploads.tsx'

/** A place to drop files, what is on its way, and what was left unfinished. */
export function UploadPanel({ onAppliance }: { readonly onAppliance: (id: string) => void }) {
  const t = useT(messages)
  const list = useStore(uploads)
  const input = useRef<HTMLInputElement>(null)
  const over = useDropOnPage((files) => send(files))
  const upload = useUploadFiles((image) => {
    // An appliance is more than its disk: what became of the rest is to be read first.
    if (image.appliance !== null) onAppliance(image.appliance)
  })
  const send = (files: FileList | null) => {
    upload(files ?? [])
    if (input.current) input.current.value = ''
  }
  const busy = list.length > 0
  useEffect(() => {
    if (!busy) return
    const warn = (event: BeforeUnloadEvent) => event.preventDefault()
    addEventListener('beforeunload', warn)
    return () => removeEventListener('beforeunload', warn)
  }, [busy])
  return (
    <section id="upload" aria-label={t('upload')} className="flex flex-col gap-3">
      <div
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
          accept={ACCEPT}
          aria-label={t('choose')}
          tabIndex={-1}
          className="sr-only"
          onChange={(event) => send(event.target.files)}
        />
      </div>
      {list.length > 0 && (
        <ul className="flex flex-col gap-3" aria-label={t('onTheWay')}>
          {list.map((one) => (
            <UploadLine key={one.key} upload={one} />
          ))}
        </ul>
      )}
      <UnfinishedUploads />
    </section>
  )
}

/** Files may be dropped anywhere on the page. @returns whether some are held over it */
function useDropOnPage(take: (files: FileList) => void): boolean {
  const [over, setOver] = useState(false)
  const latest = useRef(take)
  latest.current = take
  useEffect(() => {
    const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false
    const move = (event: DragEvent) => {
      if (!holdsFiles(event)) return
      event.preventDefault()
      setOver(true)
    }
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false)
    }
    const drop = (event: DragEvent) => {
      if (!holdsFiles(event)) return
      event.preventDefault()
      setOver(false)
      if (event.dataTransfer) latest.current(event.dataTransfer.files)
    }
    document.addEventListener('dragover', move)
    document.addEventListener('dragleave', leave)
    document.addEventListener('drop', drop)
    return () => {
      document.removeEventListener('dragover', move)
      document.removeEventListener('dragleave', leave)
      document.removeEventListener('drop', drop)
    }
  }, [])
  return over
}
