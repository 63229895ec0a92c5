'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'

/** Takes a file of the host into the library without copying it. */
export function RegisterDialog({ onClose }: { readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const sources = useQuery(queries.imageSources())
  const [path, setPath] = useState('')
  const [name, setName] = useState('')
  const register = useOperation('imageRegister', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('registerDialog.started', { name: name || path.split('/').at(-1) || path }) })
      onClose()
    },
  })
  const { error } = register
  const none = sources.data?.directories.length === 0
  return (
    <Dialog
      title={t('registerDialog.title')}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={register.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            type="submit"
            form="register-image"
            variant="primary"
            pending={register.isPending}
            disabledReason={none ? t('registerDialog.none') : null}
          >
            {t('registerDialog.submit')}
          </Button>
        </>
      }
    >
      <form
        id="register-image"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          register.mutate({ input: { body: { path: path.trim(), ...(name.trim() && { name: name.trim() }) } } })
        }}
      >
        <p className="text-dim">{t('registerDialog.intro')}</p>
        {error && error.field !== 'path' && error.field !== 'name' && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        {sources.error && !sources.data && <LoadError error={sources.error} onRetry={() => void sources.refetch()} />}
        {none && <Banner tone="attention">{t('registerDialog.none')}</Banner>}
        {!sources.data && !sources.error && <Skeleton className="h-24 w-full" />}
        {sources.data && sources.data.directories.length > 0 && (
          <div>
            <h3 className="text-faint">{t('registerDialog.directories')}</h3>
            <ul>
              {sources.data.directories.map((directory) => (
                <li key={directory.path} className="flex flex-wrap items-center gap-x-2">
                  <MarkIcon mark={directory.state === 'ok' ? 'running' : 'attention'} className="size-2.5" />
                  <code className="break-all font-mono text-sm">{directory.path}</code>
                  <span className="text-faint text-sm">{t(`registerDialog.directory.${directory.state}`)}</span>
                </li>
              ))}
            </ul>
          </div>
        )}
        {sources.data && sources.data.files.length > 0 && (
          <div>
            <h3 className="text-faint">{t('registerDialog.files')}</h3>
            <ul className="max-h-48 overflow-y-auto rounded-md border border-line">
              {sources.data.files.map((file) => (
                <li key={file.path} className="border-line border-b last:border-b-0">
                  <button
                    type="button"
                    aria-pressed={path === file.path}
                    onClick={() => setPath(file.path)}
                    className="touch flex w-full items-center justify-between gap-3 px-2.5 py-1.5 text-start hover:bg-hover aria-pressed:bg-selected"
                  >
                    <span className="min-w-0">
                      <code className="block break-all font-mono text-sm">
                        {file.path.slice(file.path.lastIndexOf('/') + 1)}
                      </code>
                      <code className="block truncate font-mono text-faint text-xs">
                        {file.path.slice(0, file.path.lastIndexOf('/'))}
                      </code>
                    </span>
                    <span className="figures shrink-0 text-faint text-sm">{formatBytes(file.sizeBytes, locale)}</span>
                  </button>
                </li>
              ))}
            </ul>
          </div>
        )}
        <TextField
          label={t('registerDialog.path')}
          hint={t('registerDialog.pathHint')}
          mono
          required
          spellCheck={false}
          value={path}
          onChange={(event) => setPath(event.target.value)}
          error={error?.field === 'path' ? error.message : undefined}
        />
        <TextField
          label={t('registerDialog.name')}
          hint={t('registerDialog.nameHint')}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={error?.field === 'name' ? error.message : undefined}
        />
      </form>
    </Dialog>
  )
}
