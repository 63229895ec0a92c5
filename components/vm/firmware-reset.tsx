'use client'
import { useQueryClient } from '@tanstack/react-query'
import { RotateCcw } from 'lucide-react'
import { Button } from '#components/ui/button.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { properties as messages } from '#lib/i18n/messages/en/properties.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Fresh UEFI variables, after saying what goes with the old ones and what stays. */
export function FirmwareReset({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const client = useQueryClient()
  const { mutateAsync, isPending } = useOperation('vmFirmwareReset')
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const reason =
    vm.spec.firmware === 'bios'
      ? t('firmware.bios')
      : !vm.actions.change?.allowed
        ? vm.actions.change?.reason
        : isOff
          ? null
          : t('firmware.running')
  const ask = () =>
    askToConfirm({
      title: t('firmware.title', { name: vm.name }),
      body: t('firmware.body'),
      goes: [
        t('firmware.goesEntries'),
        t('firmware.goesSettings'),
        ...(vm.spec.secureBoot ? [t('firmware.goesKeys')] : []),
      ],
      stays: [
        t('firmware.staysDisks'),
        t('firmware.staysDefinition'),
        ...(vm.spec.secureBoot ? [t('firmware.staysKeys')] : []),
        ...(vm.spec.tpm === 'none' ? [] : [t('firmware.staysTpm')]),
      ],
      confirmLabel: t('firmware.confirm'),
      danger: true,
      run: async () => {
        putVm(client, await mutateAsync({ input: { params: { id: vm.id } } }))
        showToast({ kind: 'done', title: t('firmware.done', { name: vm.name }) })
      },
    })
  return (
    <Button
      className="self-start"
      pending={isPending}
      disabledReason={reason}
      icon={<RotateCcw size={14} aria-hidden="true" />}
      onClick={ask}
    >
      {t('firmware.reset')}
    </Button>
  )
}
