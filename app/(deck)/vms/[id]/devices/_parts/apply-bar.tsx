'use client'
import { Button } from '#components/ui/button.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import { newChanges } from './change-plan.tsx'
import type { DeviceForm } from './use-device-form.ts'

/** When the change is to be made: now or at the next start while the guest runs, otherwise simply saved. */
export function ApplyBar({
  vm,
  form,
  mayNot,
  name,
  onDone,
  labels,
}: {
  readonly vm: Vm
  readonly form: DeviceForm
  readonly mayNot: string | null
  readonly name: string
  readonly onDone: (note: string) => void
  /** Words of a removal. */
  readonly labels?: { readonly now: string; readonly off: string }
}) {
  const t = useT(devicesPage)
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const { plan } = form
  const blocked =
    mayNot ??
    (!form.isChanged
      ? t('editor.nothing')
      : form.isStale
        ? t('editor.stale')
        : form.isFaulty
          ? t('editor.mend')
          : form.isCurrent
            ? null
            : t(form.isIncomplete ? 'editor.incomplete' : 'editor.wait'))
  const { fresh } = newChanges(vm, plan?.changes ?? [])
  const isCold = fresh.length > 0 && fresh.every((change) => change.waiting === 'restart')
  const variant = labels === undefined ? 'primary' : 'danger'
  const run = async (when: 'now' | 'next-start') => {
    const before = vm.pending.length
    const known = new Set(idsOf(vm))
    const saved = await form.apply(when)
    if (saved === null) return
    onDone(
      t(isOff ? 'editor.saved' : saved.pending.length > before ? 'editor.appliedPending' : 'editor.applied', {
        // What was added has its own name by now.
        name: idsOf(saved).find((id) => !known.has(id)) ?? name,
      }),
    )
  }
  if (isOff)
    return (
      <Button variant={variant} disabledReason={blocked} pending={form.isSaving} onClick={() => void run('now')}>
        {labels?.off ?? t('editor.save')}
      </Button>
    )
  const later = (
    <Button disabledReason={blocked} pending={form.isSaving} onClick={() => void run('next-start')}>
      {t('editor.nextStart')}
    </Button>
  )
  // The main action stands last in a dialog, first below a form.
  return (
    <>
      {labels !== undefined && later}
      <Button
        variant={variant}
        disabledReason={blocked ?? (isCold ? t('editor.applyNowNothing') : null)}
        pending={form.isSaving}
        onClick={() => void run('now')}
      >
        {labels?.now ?? t('editor.applyNow')}
      </Button>
      {labels === undefined && later}
    </>
  )
}

const idsOf = (vm: Vm): string[] => DEVICE_LISTS.flatMap((list) => vm.spec[list].map((device) => device.id))
