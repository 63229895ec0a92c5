'use client'
import { Play, Power, PowerOff, Trash2, X } from 'lucide-react'
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
    <section
      aria-label={t('bulk.label')}
      className="sticky bottom-16 z-20 mx-auto flex max-w-full flex-wrap items-center gap-1.5 rounded-md border border-line bg-raised p-1.5 ps-3 shadow-pop md:bottom-3"
    >
      <span className="figures me-1 font-medium" role="status">
        {t('selected', { count: vms.length })}
      </span>
      <Button
        size="sm"
        icon={<Play size={14} aria-hidden="true" />}
        disabledReason={reason('start')}
        onClick={() => run('start')}
      >
        {tApp('power.start')}
      </Button>
      <Button
        size="sm"
        icon={<Power size={14} aria-hidden="true" />}
        disabledReason={reason('shutdown')}
        onClick={() => run('shutdown')}
      >
        {tApp('power.shutdown')}
      </Button>
      <Button
        size="sm"
        icon={<PowerOff size={14} aria-hidden="true" />}
        disabledReason={reason('poweroff')}
        onClick={askPoweroff}
      >
        {tApp('power.poweroff')}
      </Button>
      <Button
        size="sm"
        icon={<Trash2 size={14} aria-hidden="true" />}
        disabledReason={reason('delete')}
        onClick={askDelete}
      >
        {tVm('remove')}
      </Button>
      <IconButton size="sm" label={t('clearSelection')} onClick={onClear}>
        <X size={14} aria-hidden="true" />
      </IconButton>
    </section>
  )
}
