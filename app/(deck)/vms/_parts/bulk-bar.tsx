'use client'
import { type LucideIcon, Play, Power, PowerOff, Trash2, X } from 'lucide-react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { eachLimited } from '#lib/client/each-limited.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation, usePower } from '#lib/client/mutations.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vm as vmMessages } from '#lib/i18n/messages/en/vm.ts'
import { vms as messages } from '#lib/i18n/messages/en/vms.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

type BulkAction = 'start' | 'shutdown' | 'poweroff' | 'delete'

/** Requests at a time: a browser holds six connections to one host. */
const AT_ONCE = 6
const NAMED = 12

/** What can be done with all selected VMs. Each action takes those it is possible for. */
export function BulkBar({ vms, onClear }: { readonly vms: readonly Vm[]; readonly onClear: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const tVm = useT(vmMessages)
  const power = usePower()
  const { mutateAsync: remove } = useOperation('vmDelete')
  const able = (action: BulkAction) => vms.filter((vm) => vm.actions[action]?.allowed)
  const reason = (action: BulkAction) => (able(action).length === 0 ? t(`bulk.none.${action}`) : null)
  const named = (list: readonly Vm[]) => list.slice(0, NAMED)
  const more = (list: readonly Vm[]) =>
    list.length > NAMED ? [t('bulk.goesMore', { count: list.length - NAMED })] : []

  const run = (action: 'start' | 'shutdown') => void eachLimited(able(action), AT_ONCE, (vm) => power(vm, action))
  const askPoweroff = () => {
    const list = able('poweroff')
    askToConfirm({
      title: t('bulk.poweroffTitle', { count: list.length }),
      body: tApp('power.ask.poweroffBody'),
      goes: [...named(list).map((vm) => t('bulk.poweroffGoes', { names: vm.name })), ...more(list)],
      stays: [t('bulk.staysDisks')],
      confirmLabel: tApp('power.poweroff'),
      danger: true,
      run: async () => {
        void eachLimited(list, AT_ONCE, (vm) => power(vm, 'poweroff'))
      },
    })
  }
  const askDelete = () => {
    const list = able('delete')
    const skipped = vms.length - list.length
    askToConfirm({
      title: t('bulk.deleteTitle', { count: list.length }),
      body: t('bulk.deleteBody'),
      goes: [...named(list).map((vm) => t('bulk.goesVm', { name: vm.name })), ...more(list)],
      stays: [t('bulk.staysImages'), ...(skipped > 0 ? [t('bulk.skipped', { count: skipped })] : [])],
      confirmLabel: tVm('delete.confirm'),
      danger: true,
      run: async () => {
        let deleted = 0
        await eachLimited(list, AT_ONCE, async (vm) => {
          try {
            await remove({ input: { params: { id: vm.id } }, ifMatch: vm.revision })
            deleted += 1
          } catch (error) {
            toastError(error, t('bulk.notDeleted', { name: vm.name }))
          }
        })
        if (deleted > 0) showToast({ kind: 'done', title: t('bulk.deleted', { count: deleted }) })
        onClear()
      },
    })
  }

  return (
    <section aria-label={t('bulk.label')} className="flex w-full items-center gap-1 md:gap-1.5">
      <span className="figures me-auto truncate font-medium text-ink md:me-2" role="status">
        {t('selected', { count: vms.length })}
      </span>
      <BulkButton icon={Play} reason={reason('start')} label={tApp('power.start')} onClick={() => run('start')} />
      <BulkButton
        icon={Power}
        reason={reason('shutdown')}
        label={tApp('power.shutdown')}
        onClick={() => run('shutdown')}
      />
      <BulkButton icon={PowerOff} reason={reason('poweroff')} label={tApp('power.poweroff')} onClick={askPoweroff} />
      <BulkButton icon={Trash2} reason={reason('delete')} label={tVm('remove')} onClick={askDelete} />
      <IconButton size="sm" label={t('clearSelection')} onClick={onClear} className="md:ms-auto md:me-1">
        <X size={14} aria-hidden="true" />
      </IconButton>
    </section>
  )
}

/** Icon and word; at phone width the icon alone, its name still read aloud. */
function BulkButton({
  icon: Icon,
  label,
  reason,
  onClick,
}: {
  readonly icon: LucideIcon
  readonly label: string
  readonly reason: string | null
  readonly onClick: () => void
}) {
  return (
    <Button
      size="sm"
      icon={<Icon size={14} aria-hidden="true" />}
      disabledReason={reason}
      onClick={onClick}
      aria-label={label}
    >
      <span className="max-md:hidden">{label}</span>
    </Button>
  )
}
