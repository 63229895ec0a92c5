'use client'
import { useState } from 'react'
import { ButtonLink, Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { Facts } from '#components/ui/page.tsx'
import { operationUrl } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { files as fileMessages } from '#lib/i18n/messages/en/files.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { bootText, osText } from '#lib/image-facts.ts'
import { paths } from '#lib/paths.ts'
import type { Image } from '#lib/schema/image.ts'

const FORM = 'image-details'

/** All that is known of an image; its name and description can be changed here. */
export function ImageDetails({ image, onClose }: { readonly image: Image; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const tFiles = useT(fileMessages)
  const locale = useLocale()
  const canChange = useCan('image.add')
  const [name, setName] = useState(image.name)
  const [description, setDescription] = useState(image.description)
  const save = useOperation('imageUpdate', {
    onError: () => {},
    onSuccess: (saved) => {
      showToast({ kind: 'done', title: t('detail.saved', { name: saved.name }) })
      onClose()
    },
  })
  const isChanged = name.trim() !== image.name || description.trim() !== image.description
  const facts = [
    { label: t('kind'), value: `${t(`kinds.${image.kind}`)} · ${image.format}` },
    {
      label: t('size'),
      value: `${formatBytes(image.sizeBytes, locale)}${image.virtualSizeBytes === image.sizeBytes ? '' : ` · ${t('virtual', { size: formatBytes(image.virtualSizeBytes, locale) })}`}`,
    },
    ...(image.label === null ? [] : [{ label: t('label'), value: <code className="font-mono">{image.label}</code> }]),
    ...(image.os === null
      ? image.guest === null
        ? []
        : [{ label: t('detail.guest'), value: tApp(`guest.${image.guest}`) }]
      : [{ label: t('detail.os'), value: osText(image.os) }]),
    ...(image.bootModes === null
      ? []
      : [
          {
            label: t('detail.boots'),
            value: image.bootModes.length === 0 ? t('detail.bootsNot') : bootText(image.bootModes),
          },
        ]),
    ...(image.cloudInit === true ? [{ label: t('detail.cloudInit'), value: t('detail.cloudInitYes') }] : []),
    ...(image.origin === null
      ? []
      : [
          {
            label: t('detail.brought'),
            value: t('detail.broughtAs', {
              format: [image.origin.format, image.origin.compression].filter(Boolean).join(', '),
              size: formatBytes(image.origin.sizeBytes, locale),
            }),
          },
        ]),
    { label: t('detail.source'), value: t(`sources.${image.source}`) },
    ...(image.downloadedFrom === null
      ? []
      : [
          {
            label: t('download.from'),
            value: <code className="break-all font-mono text-sm">{image.downloadedFrom}</code>,
          },
        ]),
    {
      label: t('added'),
      value: (
        <>
          {image.addedBy.name}, <Time at={image.addedAt} />
        </>
      ),
    },
    {
      label: t('usedBy'),
      value:
        image.usedBy.length === 0 ? (
          t('unused')
        ) : (
          <ul>
            {image.usedBy.map((vm) => (
              <li key={vm.id}>
                <Link href={paths.vm(vm.id)}>{vm.name}</Link>
              </li>
            ))}
          </ul>
        ),
    },
    {
      label: t('sha256'),
      value:
        image.sha256 === null ? (
          t('shaPending')
        ) : (
          <span className="flex items-start gap-1">
            <code className="break-all font-mono text-sm">{image.sha256}</code>
            <CopyButton text={image.sha256} label={t('copySha', { name: image.name })} copiedLabel={tApp('copied')} />
          </span>
        ),
    },
  ]
  return (
    <Dialog
      title={t('details', { name: image.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={save.isPending}
      footer={
        <>
          {canChange && image.present && (
            <a
              href={operationUrl('imageContent', { params: { id: image.id } })}
              download={image.name}
              className="me-auto self-center text-accent text-sm hover:underline"
            >
              {t('detail.save')}
            </a>
          )}
          {canChange && image.present && (
            <ButtonLink
              href={paths.files({ image: image.id })}
              aria-label={tFiles('browseNamed', { name: image.name })}
            >
              {tFiles('browse')}
            </ButtonLink>
          )}
          <Button onClick={onClose}>{tApp('close')}</Button>
          <Button
            type="submit"
            form={FORM}
            variant="primary"
            pending={save.isPending}
            disabledReason={!canChange ? tApp('notAllowed') : isChanged ? null : t('detail.unchanged')}
          >
            {t('detail.submit')}
          </Button>
        </>
      }
    >
      <form
        id={FORM}
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (canChange && isChanged)
            save.mutate({ input: { params: { id: image.id }, body: { name: name.trim(), description } } })
        }}
      >
        {!image.present && <Banner tone="attention">{t('missing')}</Banner>}
        {save.error && save.error.field !== 'name' && <Banner tone="error">{save.error.message}</Banner>}
        <TextField
          label={t('registerDialog.name')}
          value={name}
          required
          onChange={(event) => setName(event.target.value)}
          error={save.error?.field === 'name' ? save.error.message : undefined}
          disabledReason={canChange ? null : tApp('notAllowed')}
        />
        <TextArea
          label={t('detail.description')}
          hint={t('detail.descriptionHint')}
          value={description}
          maxLength={4000}
          onChange={(event) => setDescription(event.target.value)}
          disabledReason={canChange ? null : tApp('notAllowed')}
        />
        <Facts facts={facts} />
      </form>
    </Dialog>
  )
}
