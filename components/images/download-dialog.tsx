'use client'
import { useState } from 'react'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Disclosure } from '#components/ui/feedback.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { Facts } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { Job } from '#lib/schema/job.ts'
import type { DownloadPreview } from '#lib/schema/transfer.ts'

const FORM = 'download-image'

/** Fetches an image by its address on the host; shows what lies there first, when asked. */
export function DownloadDialog({
  onClose,
  onStarted,
}: {
  readonly onClose: () => void
  readonly onStarted: (job: Job) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [url, setUrl] = useState('')
  const [checksum, setChecksum] = useState('')
  const [name, setName] = useState('')
  const [mirrors, setMirrors] = useState('')
  const look = useOperation('imageDownloadPreview', { onError: () => {} })
  const start = useOperation('imageDownload', {
    onError: () => {},
    onSuccess: (job) => {
      onStarted(job)
      onClose()
    },
  })
  const error = start.error ?? look.error
  const sum = checksum.trim()
  const body = {
    url: url.trim(),
    mirrors: mirrors.split(/\s+/).filter((line) => line !== ''),
    ...(sum !== '' && { checksum: /^https?:/i.test(sum) ? { listUrl: sum } : { value: sum } }),
    ...(name.trim() !== '' && { name: name.trim() }),
  }
  const errorAt = (field: string) =>
    error?.field === field || error?.field?.startsWith(`${field}.`) ? error.message : undefined
  const isPlaced = ['url', 'checksum', 'name', 'mirrors'].some((field) => errorAt(field) !== undefined)
  // What was found is about the address it was asked for.
  const changed = () => {
    look.reset()
    start.reset()
  }
  return (
    <Dialog
      title={t('download.title')}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={start.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            pending={look.isPending}
            disabledReason={body.url === '' ? t('download.missing') : null}
            onClick={() => {
              start.reset()
              look.mutate({ input: { body } })
            }}
          >
            {t('download.look')}
          </Button>
          <Button
            type="submit"
            form={FORM}
            variant="primary"
            pending={start.isPending}
            disabledReason={body.url === '' ? t('download.missing') : null}
          >
            {t('download.submit')}
          </Button>
        </>
      }
    >
      <form
        id={FORM}
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          // The create page is a form of its own, which events reach through the portal.
          event.stopPropagation()
          if (body.url === '') return
          look.reset()
          start.mutate({ input: { body } })
        }}
      >
        {error && !isPlaced && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <TextField
          label={t('download.url')}
          hint={t('download.urlHint')}
          type="url"
          mono
          spellCheck={false}
          placeholder="https://"
          value={url}
          onChange={(event) => {
            setUrl(event.target.value)
            changed()
          }}
          error={errorAt('url')}
        />
        <TextField
          label={t('download.checksum')}
          hint={t('download.checksumHint')}
          mono
          spellCheck={false}
          value={checksum}
          onChange={(event) => {
            setChecksum(event.target.value)
            changed()
          }}
          error={errorAt('checksum')}
        />
        <TextField
          label={t('registerDialog.name')}
          hint={t('download.nameHint')}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={errorAt('name')}
        />
        <Disclosure summary={t('download.mirrors')}>
          <TextArea
            label={t('download.mirrors')}
            hideLabel
            hint={t('download.mirrorsHint')}
            mono
            spellCheck={false}
            value={mirrors}
            onChange={(event) => setMirrors(event.target.value)}
            error={errorAt('mirrors')}
          />
        </Disclosure>
        <div aria-live="polite">{look.data && <Found found={look.data} hasChecksum={sum !== ''} />}</div>
      </form>
    </Dialog>
  )
}

function Found({ found, hasChecksum }: { readonly found: DownloadPreview; readonly hasChecksum: boolean }) {
  const t = useT(messages)
  const locale = useLocale()
  const facts = [
    { label: t('name'), value: found.name },
    { label: t('download.from'), value: <code className="break-all font-mono text-sm">{found.url}</code> },
    {
      label: t('size'),
      value: found.sizeBytes === null ? t('download.sizeUnknown') : formatBytes(found.sizeBytes, locale),
    },
    ...(found.lastModified === null ? [] : [{ label: t('download.date'), value: <Time at={found.lastModified} /> }]),
    { label: t('download.resume'), value: t(found.canResume ? 'download.canResume' : 'download.cannotResume') },
    {
      label: t('download.checksum'),
      value:
        found.checksum === null ? (
          t('download.unchecked')
        ) : (
          <code className="break-all font-mono text-sm">{found.checksum.value}</code>
        ),
    },
  ]
  return (
    <div className="flex flex-col gap-3 rounded-md border border-line p-3">
      <Facts facts={facts} />
      {found.existing !== null && <Banner tone="attention">{t('download.existing')}</Banner>}
      {!hasChecksum && <p className="text-faint text-sm">{t('download.adviseChecksum')}</p>}
    </div>
  )
}
