'use client'
import { useQueryClient } from '@tanstack/react-query'
import { Undo2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import type { ReactNode } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation, usePower } from '#lib/client/mutations.ts'
import { forgetRestart, noteRestart, restarts } from '#lib/client/restarts.ts'
import { toastError } from '#lib/client/toasts.ts'
import { useStore } from '#lib/client/use-store.ts'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import type { PendingChange, Vm } from '#lib/schema/vm-state.ts'
import { revertPatch } from '#lib/vm/revert.ts'

// The words of all devices: only where something waits.
const ChangeLine = dynamic(() => import('./change-line.tsx').then((part) => part.ChangeLine), { ssr: false })

/**
 * What stands between definition and guest, above every tab, by what it waits for: a restart, the guest, or to be
 * applied. Each change can be taken back.
 */
export function PendingBar({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const client = useQueryClient()
  const power = usePower()
  const restart = useOperation('vmRestart')
  const restarting = useStore(restarts).has(vm.id)
  const apply = useOperation('vmUpdate', { onSuccess: (saved) => putVm(client, saved) })
  if (vm.pending.length === 0 && !restarting) return null
  const of = (waiting: PendingChange['waiting']) => vm.pending.filter((change) => change.waiting === waiting)
  const [forRestart, forGuest, forApply] = [of('restart'), of('guest'), of('apply')]
  const mayNot = vm.actions.change?.reason
  const askRestart = () =>
    askToConfirm({
      title: t('restart.title', { name: vm.name }),
      body: t('restart.body'),
      confirmLabel: t('restart.confirm'),
      run: async () => {
        restart.mutate(
          { input: { params: { id: vm.id } } },
          {
            onSuccess: (asked) => {
              putVm(client, asked)
              if (asked.state === 'stopping') noteRestart(vm.id)
            },
            onError: (error) => toastError(error, t('restart.failed', { name: vm.name })),
          },
        )
      },
    })
  // An empty change makes what was left, and asks the guest once more.
  const applyAll = () =>
    apply.mutate(
      { input: { params: { id: vm.id }, body: {} }, ifMatch: vm.revision },
      { onError: (error) => toastError(error, t('pending.applyFailed')) },
    )
  const askPoweroff = () =>
    askToConfirm({
      title: t('pending.poweroffTitle', { name: vm.name }),
      body: t('pending.poweroffBody'),
      confirmLabel: t('pending.poweroff'),
      danger: true,
      run: async () => void power(vm, 'poweroff'),
    })
  return (
    <div data-pending="" className="peer flex flex-col gap-2 px-4 pt-4 sm:px-6">
      {(forRestart.length > 0 || restarting) && (
        <Group
          vm={vm}
          title={restarting ? t('restart.waiting') : t('pending.title', { count: forRestart.length })}
          changes={forRestart}
          actions={
            restarting ? (
              // A shutdown that is only that takes the start back.
              <Button size="sm" onClick={() => void power(vm, 'shutdown').then((done) => done && forgetRestart(vm.id))}>
                {t('restart.stop')}
              </Button>
            ) : (
              <Button
                size="sm"
                pending={restart.isPending}
                disabledReason={vm.actions.shutdown?.reason}
                onClick={askRestart}
              >
                {t('restart.apply')}
              </Button>
            )
          }
        />
      )}
      {forGuest.length > 0 && (
        <Group
          vm={vm}
          title={t('pending.guest', { names: forGuest.map((change) => fieldName(t, change)).join(', ') })}
          changes={forGuest}
          actions={
            <>
              <Button size="sm" pending={apply.isPending} disabledReason={mayNot} onClick={applyAll}>
                {t('pending.retry')}
              </Button>
              <Button size="sm" disabledReason={vm.actions.poweroff?.reason} onClick={askPoweroff}>
                {t('pending.poweroff')}
              </Button>
            </>
          }
        />
      )}
      {forApply.length > 0 && (
        <Group
          vm={vm}
          title={t('pending.left', { count: forApply.length })}
          changes={forApply}
          actions={
            <Button size="sm" pending={apply.isPending} disabledReason={mayNot} onClick={applyAll}>
              {t('pending.applyNow')}
            </Button>
          }
        />
      )}
    </div>
  )
}

function Group({
  vm,
  title,
  changes,
  actions,
}: {
  readonly vm: Vm
  readonly title: string
  readonly changes: readonly PendingChange[]
  readonly actions: ReactNode
}) {
  const t = useT(messages)
  const revert = useOperation('vmUpdate')
  return (
    <Banner tone="attention" actions={actions}>
      <p className="font-medium">{title}</p>
      <ul className="flex flex-col">
        {changes.map((change) => {
          const field = fieldName(t, change)
          return (
            // Removed devices of a list share its path.
            <li key={`${change.path} ${field}`} className="flex items-center gap-1 text-dim">
              <span data-tip={change.reason} className="min-w-0">
                <ChangeLine change={change} />
              </span>
              <IconButton
                size="sm"
                label={t('pending.revertNamed', { field })}
                disabledReason={vm.actions.change?.reason}
                pending={revert.isPending}
                onClick={() => {
                  const body = revertPatch(vm.spec, change)
                  if (!body) return
                  revert.mutate(
                    { input: { params: { id: vm.id }, body }, ifMatch: vm.revision },
                    { onError: (error) => toastError(error, t('pending.failed', { field })) },
                  )
                }}
              >
                <Undo2 size={14} aria-hidden="true" />
              </IconButton>
            </li>
          )
        })}
      </ul>
    </Banner>
  )
}

type T = ReturnType<typeof useT<typeof messages.messages>>

const FIELDS = Object.keys(messages.messages.field) as (keyof typeof messages.messages.field)[]

/** A device by its id, a field by its name. */
function fieldName(t: T, { path, live, next }: PendingChange): string {
  const [first = '', step] = path.split('/').slice(1)
  const device = next ?? live
  if (step !== undefined && typeof device === 'object' && device !== null && 'id' in device) return String(device.id)
  const known = FIELDS.find((field) => field === first)
  return [known ? t(`field.${known}`) : first, ...(first === 'properties' && step ? [step] : [])].join(' › ')
}
