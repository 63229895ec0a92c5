'use client'
import { useQuery } from '@tanstack/react-query'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import type { CreateForm } from './use-create-form.ts'

/** Where the Fedora project offers the ISO. */
const SOURCE = 'https://fedorapeople.org/groups/virt/virtio-win/direct-downloads/stable-virtio/virtio-win.iso'

/** A file of the virtio-win package. */
const FILE = /(^|\/)virtio-win[^/]*\.iso$/i

/** For Windows guests: the virtio drivers on a CD of their own, or where to get them. */
export function DriverCd({ page }: { readonly page: CreateForm }) {
  const t = useT(create)
  const { image, isWanted, want } = page.drivers
  if (page.guest !== 'windows') return null
  if (image === undefined) return <MissingDrivers />
  const isElsewhere = page.form.draft.drives.some((drive) => drive.image === image.id && drive.origin !== 'drivers')
  return (
    <Checkbox
      label={t('drivers.label')}
      hint={t('drivers.hint', { name: image.name })}
      checked={isWanted || isElsewhere}
      disabledReason={isElsewhere ? t('drivers.attached', { name: image.name }) : null}
      onChange={(event) => want(event.target.checked)}
    />
  )
}

/** One click where the host has the ISO in a directory of images, otherwise where to get it. */
function MissingDrivers() {
  const t = useT(create)
  const offer = useQuery(queries.capabilities()).data?.offers.virtioWin
  const sources = useQuery({ ...queries.imageSources(), enabled: useCan('image.register') }).data
  const path = sources?.files.find((file) => FILE.test(file.path))?.path
  const register = useOperation('imageRegister')
  const error = register.error === null ? null : toApiError(register.error).message
  return (
    <div className="flex max-w-prose flex-col items-start gap-1 text-dim text-sm">
      <p>{t('drivers.none')}</p>
      {register.isSuccess ? (
        // A job reads the file; the list of images then puts it into the drive.
        <p role="status">{t('drivers.adding')}</p>
      ) : path !== undefined ? (
        <Button size="sm" pending={register.isPending} onClick={() => register.mutate({ input: { body: { path } } })}>
          {t('drivers.add', { name: path.split('/').at(-1) ?? path })}
        </Button>
      ) : offer?.available ? (
        <p>{t('drivers.ask')}</p>
      ) : (
        <>
          <p>{t('drivers.get')}</p>
          {offer?.command && <p className="select-all font-mono">{offer.command}</p>}
          <a
            href={SOURCE}
            target="_blank"
            rel="noreferrer"
            className="rounded-sm text-accent underline-offset-2 hover:underline"
          >
            {t('drivers.source')}
          </a>
        </>
      )}
      {error && (
        <p role="alert" className="text-crashed">
          {error}
        </p>
      )}
    </div>
  )
}
