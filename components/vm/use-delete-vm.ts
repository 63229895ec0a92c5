'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useCallback } from 'react'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Asks before deleting a VM, naming what goes and what stays; then deletes it. */
export function useDeleteVm(): (vm: Vm, onDeleted?: () => void) => void {
  const t = useT(messages)
  const client = useQueryClient()
  const { mutateAsync } = useOperation('vmDelete')
  return useCallback(
    (vm, onDeleted) => {
      const images = client.getQueryData<{ items: Image[] }>(['imageList', {}])?.items ?? []
      const used = images.filter((image) => vm.spec.disks.some((disk) => disk.image === image.id))
      askToConfirm({
        title: t('delete.title', { name: vm.name }),
        body: t('delete.body'),
        goes: [
          t('delete.goesDefinition', { name: vm.name }),
          ...vm.spec.disks
            .filter((disk) => disk.device === 'disk')
            .map((disk) => t('delete.goesDisk', { id: disk.id, size: String(disk.sizeGiB) })),
          t('delete.goesRecordings'),
        ],
        stays:
          used.length > 0
            ? used.map((image) => t('delete.staysImage', { name: image.name }))
            : [t('delete.staysNothing')],
        confirmLabel: t('delete.confirm'),
        danger: true,
        run: async () => {
          await mutateAsync({ input: { params: { id: vm.id } }, ifMatch: vm.revision })
          showToast({ kind: 'done', title: t('delete.done', { name: vm.name }) })
          onDeleted?.()
        },
      })
    },
    [client, mutateAsync, t],
  )
}
