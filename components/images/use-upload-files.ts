'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useCallback } from 'react'
import { toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { describeDetails, showToast } from '#lib/client/toasts.ts'
import { uploadImage } from '#lib/client/upload.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { Image } from '#lib/schema/image.ts'

/** What a file chooser offers first; the bytes decide what a file is. */
export const ACCEPT = '.iso,.img,.raw,.qcow2,.vmdk,.vhdx,.vhd,.vdi,.ova,.gz,.xz,.zst,.bz2'

/** Sends files, and tells of each how it ended, wherever the reader is by then. */
export function useUploadFiles(onUploaded?: (image: Image) => void): (files: Iterable<File>) => void {
  const t = useT(messages)
  const client = useQueryClient()
  return useCallback(
    (files) => {
      for (const file of files) {
        uploadImage(file)
          .then((image) => {
            void client.invalidateQueries({ queryKey: ['uploadList'] })
            if (image === null) {
              showToast({ kind: 'info', title: t('cancelled', { name: file.name }) })
              return
            }
            showToast({ kind: 'done', title: t('uploaded', { name: image.name }) })
            void client.invalidateQueries({ queryKey: ['imageList'] })
            if (image.appliance !== null) void client.invalidateQueries({ queryKey: ['applianceList'] })
            void client.invalidateQueries({ queryKey: ['hostView'] })
            onUploaded?.(image)
          })
          .catch((cause: unknown) => {
            const error = toApiError(cause)
            void client.invalidateQueries({ queryKey: ['uploadList'] })
            showToast({
              kind: 'error',
              title: t('failed', { name: file.name }),
              message: error.message,
              details: describeDetails(error),
            })
          })
      }
    },
    [client, t, onUploaded],
  )
}
