'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import type { Drive } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const EMPTY = ''

/** Puts another image into a CD drive, or none. */
export function CdDialog({
  vm,
  drive,
  onClose,
}: {
  readonly vm: Vm
  readonly drive: Extract<Drive, { device: 'cdrom' }>
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data } = useQuery(queries.imageList())
  const [image, setImage] = useState<string>(drive.image ?? EMPTY)
  const update = useOperation('vmUpdate', { onSuccess: onClose })
  const isos = data?.items.filter((item) => item.kind === 'iso') ?? []
  const save = () => {
    const disks = vm.spec.disks.map((disk) =>
      disk.id === drive.id ? { ...disk, image: image === EMPTY ? null : image } : disk,
    )
    update.mutate({ input: { params: { id: vm.id }, body: { disks } }, ifMatch: vm.revision })
  }
  return (
    <Dialog
      title={t('devices.cdTitle', { id: drive.id })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={update.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button variant="primary" pending={update.isPending} onClick={save}>
            {t(image === EMPTY ? 'devices.eject' : 'devices.insert')}
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-3">
        {update.error && (
          <div role="alert">
            <Banner tone="error">{update.error.message}</Banner>
          </div>
        )}
        <Select
          label={t('devices.cdImage')}
          value={image}
          onChange={(event) => setImage(event.target.value)}
          options={[
            { value: EMPTY, label: t('devices.cdEmpty') },
            ...isos.map((item) => ({ value: item.id as string, label: item.name, disabled: !item.present })),
          ]}
        />
      </div>
    </Dialog>
  )
}
