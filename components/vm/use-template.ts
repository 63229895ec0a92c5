'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useCallback } from 'react'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { clones as messages } from '#lib/i18n/messages/en/clones.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Makes a VM a template, asking first; or an ordinary VM again. */
export function useTemplate(): (vm: Vm) => void {
  const t = useT(messages)
  const client = useQueryClient()
  const { mutateAsync, mutate } = useOperation('vmTemplateSet', { onSuccess: (vm) => putVm(client, vm) })
  return useCallback(
    (vm) => {
      const params = { id: vm.id }
      if (vm.template !== undefined) {
        mutate({ input: { params, body: { template: false } } })
        return
      }
      askToConfirm({
        title: t('askTemplate', { name: vm.name }),
        body: t('askTemplateBody'),
        goes: [t('askTemplateGoes')],
        stays: [t('askTemplateStays')],
        confirmLabel: t('makeTemplate'),
        run: async () => {
          await mutateAsync({ input: { params, body: { template: true } } })
        },
      })
    },
    [mutate, mutateAsync, t],
  )
}
