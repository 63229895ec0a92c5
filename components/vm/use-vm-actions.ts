'use client'
import { useCallback } from 'react'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { usePower } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { PowerAction, Vm } from '#lib/schema/vm-state.ts'

/** Carries out a power action; what costs the guest its memory asks first. */
export function useVmActions(): (vm: Pick<Vm, 'id' | 'name'>, action: PowerAction) => void {
  const t = useT(app)
  const power = usePower()
  return useCallback(
    (vm, action) => {
      if (action !== 'poweroff' && action !== 'reset') {
        void power(vm, action)
        return
      }
      askToConfirm({
        title: t(`power.ask.${action}Title`, { name: vm.name }),
        body: t(`power.ask.${action}Body`),
        goes: [t('power.ask.unsaved')],
        stays: [t('power.ask.disksStay')],
        confirmLabel: t(`power.${action}`),
        danger: true,
        // The row shows the rest: the dialog need not wait for QEMU.
        run: async () => {
          void power(vm, action)
        },
      })
    },
    [power, t],
  )
}
