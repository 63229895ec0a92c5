'use client'
import { useQuery } from '@tanstack/react-query'
import { useRef } from 'react'
import { useUploadFiles } from '#components/images/use-upload-files.ts'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { isSameFile, uploads } from '#lib/client/upload.ts'
import { useStore } from '#lib/client/use-store.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { UploadSession } from '#lib/schema/transfer.ts'

/** Uploads that the host has in part and that this page does not send: after a reload, or from elsewhere. */
export function UnfinishedUploads() {
  const t = useT(messages)
  const { data } = useQuery(queries.uploadList())
  const here = new Set(useStore(uploads).map(({ id }) => id))
  const left = (data?.items ?? []).filter(({ id }) => !here.has(id))
  if (left.length === 0) return null
  return (
    <section aria-label={t('unfinished.title')} className="flex flex-col gap-2 rounded-md border border-line p-3">
      <h2 className="font-medium">{t('unfinished.title')}</h2>
      <p className="text-dim text-sm">{t('unfinished.intro')}</p>
      <ul className="flex flex-col gap-3">
        {left.map((session) => (
          <UnfinishedLine key={session.id} session={session} />
        ))}
      </ul>
    </section>
  )
}

function UnfinishedLine({ session }: { readonly session: UploadSession }) {
  const t = useT(messages)
  const locale = useLocale()
  const input = useRef<HTMLInputElement>(null)
  const upload = useUploadFiles()
  const { name, state } = session
  const { mutateAsync: remove } = useOperation('uploadDelete')
  const finish = useOperation('uploadFinish', { onError: (error) => toastError(error, t('failed', { name })) })
  const done = formatBytes(session.offsetBytes, locale)
  const total = formatBytes(session.sizeBytes, locale)
  const goOn = (file: File | undefined) => {
    if (input.current) input.current.value = ''
    if (file === undefined) return
    if (isSameFile(file, session)) upload([file])
    else
      showToast({ kind: 'error', title: t('unfinished.other', { name }), message: t('unfinished.otherWhy', { total }) })
  }
  return (
    <li className="flex flex-col gap-1.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span className="min-w-0 flex-1 basis-40 truncate font-medium">{name}</span>
        <span className="figures text-dim text-sm">{t(`unfinished.${state}`, { done, total })}</span>
        <span className="text-faint text-sm">
          {t('unfinished.expires')} <Time at={session.expiresAt} />
        </span>
        <span className="flex gap-2">
          {state === 'held' ? (
            <Button
              size="sm"
              pending={finish.isPending}
              onClick={() => finish.mutate({ input: { params: { id: session.id } } })}
            >
              {t('unfinished.again')}
            </Button>
          ) : (
            state !== 'checking' && (
              <>
                <Button
                  size="sm"
                  aria-label={t('unfinished.chooseNamed', { name })}
                  onClick={() => input.current?.click()}
                >
                  {t('unfinished.choose')}
                </Button>
                <input
                  ref={input}
                  type="file"
                  tabIndex={-1}
                  aria-label={t('unfinished.chooseNamed', { name })}
                  className="sr-only"
                  onChange={(event) => goOn(event.target.files?.[0])}
                />
              </>
            )
          )}
          {state !== 'checking' && (
            <Button
              size="sm"
              aria-label={t('unfinished.removeNamed', { name })}
              onClick={() =>
                askToConfirm({
                  title: t('unfinished.removeNamed', { name }),
                  goes: [t('unfinished.goes', { size: done })],
                  stays: [t('unfinished.stays')],
                  confirmLabel: t('remove'),
                  danger: true,
                  run: async () => {
                    await remove({ input: { params: { id: session.id } } })
                  },
                })
              }
            >
              {t('remove')}
            </Button>
          )}
        </span>
      </div>
      <ProgressBar label={t('uploading', { name })} value={session.offsetBytes / session.sizeBytes} />
      {session.problem && <p className="text-crashed text-sm">{session.problem}</p>}
    </li>
  )
}
