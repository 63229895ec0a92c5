'use client'
import { Trash2 } from 'lucide-react'
import { AccessMenu } from '#components/access/access-menu.tsx'
import { ButtonLink, Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { IconButton } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { bootText, osText } from '#lib/image-facts.ts'
import { paths } from '#lib/paths.ts'
import type { Image } from '#lib/schema/image.ts'

const NAMED_VMS = 3
const SHA_SHOWN = 12

/** The library as a table; at phone width each image is a block of its own. */
export function ImageList({
  images,
  onDetails,
}: {
  readonly images: readonly Image[]
  readonly onDetails: (id: string) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  return (
    <table className="-mt-3 w-full table-fixed max-md:block">
      <thead className="text-dim text-sm max-md:sr-only">
        <tr className="h-8 border-line border-b">
          <th scope="col">{t('name')}</th>
          <th scope="col" className="w-24 px-2">
            {t('size')}
          </th>
          <th scope="col" className="w-44 px-2">
            {t('usedBy')}
          </th>
          <th scope="col" className="w-44 px-2 max-lg:hidden">
            {t('sha256')}
          </th>
          <th scope="col" className="w-32 px-2 max-xl:hidden">
            {t('added')}
          </th>
          <th scope="col" className="w-36">
            <span className="sr-only">{tApp('palette.actions')}</span>
          </th>
        </tr>
      </thead>
      <tbody className="max-md:block">
        {images.map((image) => (
          <ImageRow key={image.id} image={image} onDetails={onDetails} />
        ))}
      </tbody>
    </table>
  )
}

function ImageRow({ image, onDetails }: { readonly image: Image; readonly onDetails: (id: string) => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const canDelete = useCan('image.delete')
  const canShare = useCan('share.manage')
  const canCreate = useCan('vm.create')
  const { mutateAsync: remove } = useOperation('imageDelete')
  const size = formatBytes(image.sizeBytes, locale)
  const ask = () =>
    askToConfirm({
      title: t('delete.title', { name: image.name }),
      goes: [image.source === 'registered' ? t('delete.goesEntry') : t('delete.goesFile', { size })],
      stays: [...(image.source === 'registered' ? [t('delete.staysFile')] : []), t('delete.staysVms')],
      confirmLabel: t('delete.confirm'),
      danger: true,
      run: async () => {
        await remove({ input: { params: { id: image.id } } })
        showToast({ kind: 'done', title: t('delete.done', { name: image.name }) })
      },
    })
  return (
    <tr className="border-line border-b hover:bg-hover max-md:flex max-md:flex-wrap max-md:items-center max-md:gap-x-3 max-md:gap-y-1 max-md:py-2.5">
      <td className="py-2 pe-2 max-md:basis-full max-md:py-0">
        <span className="flex min-w-0 flex-wrap items-center gap-x-2 gap-y-1">
          <button
            type="button"
            aria-label={t('details', { name: image.name })}
            onClick={() => onDetails(image.id)}
            className="min-w-0 break-all text-start font-medium hover:underline"
          >
            {image.name}
          </button>
          <Badge>
            {t(`kinds.${image.kind}`)} {image.kind === 'disk' ? image.format : ''}
          </Badge>
          {image.project && <Badge tip={t('projectTip')}>{image.project.name}</Badge>}
          {image.source !== 'upload' && <Badge>{t(`sources.${image.source}`)}</Badge>}
        </span>
        <span className="flex flex-wrap items-center gap-x-3 text-faint text-sm">
          {image.label && <span className="font-mono text-xs">{image.label}</span>}
          {image.os ? (
            <span>{osText(image.os)}</span>
          ) : (
            image.guest && image.guest !== 'other' && <span>{tApp(`guest.${image.guest}`)}</span>
          )}
          {image.bootModes && image.bootModes.length > 0 && (
            <span data-tip={t('detail.boots')}>{bootText(image.bootModes)}</span>
          )}
          {!image.present && (
            <span className="inline-flex items-center gap-1 text-attention">
              <MarkIcon mark="attention" className="size-2.5" />
              {t('missing')}
            </span>
          )}
        </span>
      </td>
      <td
        className="figures px-2 max-md:px-0"
        data-tip={
          image.virtualSizeBytes !== image.sizeBytes
            ? t('virtual', { size: formatBytes(image.virtualSizeBytes, locale) })
            : undefined
        }
      >
        {size}
      </td>
      <td className="break-words px-2 max-md:px-0">
        {image.usedBy.length === 0 ? (
          <span className="text-faint">{t('unused')}</span>
        ) : (
          <>
            {image.usedBy.slice(0, NAMED_VMS).map((vm, index) => (
              <span key={vm.id}>
                {index > 0 && ', '}
                <Link href={paths.vm(vm.id)}>{vm.name}</Link>
              </span>
            ))}
            {image.usedBy.length > NAMED_VMS && ` ${t('usedMore', { count: image.usedBy.length - NAMED_VMS })}`}
          </>
        )}
      </td>
      <td className="px-2 max-lg:hidden">
        {image.sha256 ? (
          <span className="flex items-center gap-1">
            <code className="truncate font-mono text-dim text-sm" data-tip={image.sha256}>
              {image.sha256.slice(0, SHA_SHOWN)}…
            </code>
            <CopyButton text={image.sha256} label={t('copySha', { name: image.name })} copiedLabel={tApp('copied')} />
          </span>
        ) : (
          <span className="text-faint">{t('shaPending')}</span>
        )}
      </td>
      <td className="px-2 text-dim max-xl:hidden">
        <Time at={image.addedAt} />
      </td>
      <td className="text-end max-md:ms-auto">
        <span className="inline-flex items-center gap-1">
          {canCreate && image.present && (
            <ButtonLink
              size="sm"
              href={`${paths.vmNew()}?image=${image.id}`}
              aria-label={t('use', { name: image.name })}
            >
              {t('useShort')}
            </ButtonLink>
          )}
          <AccessMenu
            of={{ kind: 'image', id: image.id, name: image.name }}
            disabledReason={canShare ? null : tApp('notAllowed')}
          />
          <IconButton
            size="sm"
            label={t('delete.title', { name: image.name })}
            disabledReason={
              !canDelete
                ? tApp('notAllowed')
                : image.usedBy.length > 0
                  ? t('delete.inUse', { count: image.usedBy.length })
                  : null
            }
            onClick={ask}
          >
            <Trash2 size={14} aria-hidden="true" />
          </IconButton>
        </span>
      </td>
    </tr>
  )
}
