'use client'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { Drive } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { ApplyBar } from './apply-bar.tsx'
import { withRemoved } from './change-draft.ts'
import { ChangePlan } from './change-plan.tsx'
import type { DeviceEntry } from './entries.ts'
import { useDeviceForm } from './use-device-form.ts'

/** Asks before a device goes, and says what goes with it and whether the guest has to agree. */
export function RemoveDialog({
  vm,
  entry,
  mayNot,
  onClose,
  onDone,
}: {
  readonly vm: Vm
  readonly entry: DeviceEntry
  readonly mayNot: string | null
  readonly onClose: () => void
  readonly onDone: (note: string) => void
}) {
  const t = useT(devicesPage)
  const words = useT(app)
  const form = useDeviceForm(vm, (draft) => withRemoved(draft, entry.list, entry.id))
  const isDisk = entry.list === 'disks' && (entry.device as Drive).device === 'disk'
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const name = entry.id
  const isAsked = form.plan?.changes.some(
    ({ path, waiting }) => path === `/${entry.list}/-` && (waiting === 'apply' || waiting === 'guest'),
  )
  return (
    <Dialog
      title={t('removal.title', { name })}
      closeLabel={words('close')}
      onClose={onClose}
      width="md"
      locked={form.isSaving}
      footer={
        <>
          <Button onClick={onClose}>{words('cancel')}</Button>
          <ApplyBar
            vm={vm}
            form={form}
            mayNot={mayNot}
            name={name}
            labels={{ now: t('removal.now'), off: t('removal.off') }}
            onDone={onDone}
          />
        </>
      }
    >
      <div className="flex flex-col gap-4">
        <p>{t(isDisk ? (isOff ? 'removal.diskOff' : 'removal.disk') : 'removal.other')}</p>
        {isAsked && <p className="text-dim">{t('removal.asked', { name })}</p>}
        <ChangePlan vm={vm} form={form} />
      </div>
    </Dialog>
  )
}
