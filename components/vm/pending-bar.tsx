'use client'
import { useQueryClient } from '@tanstack/react-query'
import { Undo2 } from 'lucide-react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation, usePower } from '#lib/client/mutations.ts'
import { forgetRestart, noteRestart, restarts } from '#lib/client/restarts.ts'
import { toastError } from '#lib/client/toasts.ts'
import { useStore } from '#lib/client/use-store.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import type { PendingChange, Vm } from '#lib/schema/vm-state.ts'
import { revertPatch } from '#lib/vm/revert.ts'

/** What waits for a restart, above every tab: each change can be taken back, all can be applied. */
export function PendingBar({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const client = useQueryClient()
  const power = usePower()
  const restart = useOperation('vmRestart')
  const restarting = useStore(restarts).has(vm.id)
  const revert = useOperation('vmUpdate')
  if (vm.pending.length === 0 && !restarting) return null
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
  return (
    <div data-pending="" className="peer px-4 pt-4 sm:px-6">
      <Banner
        tone="attention"
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
      >
        <p className="font-medium">
          {restarting ? t('restart.waiting') : t('pending.title', { count: vm.pending.length })}
        </p>
        <ul className="flex flex-col">
          {vm.pending.map((change) => {
            const field = fieldName(t, change)
            return (
              <li key={change.path} className="flex flex-wrap items-center gap-1 text-dim">
                <span data-tip={change.reason}>
                  {t('pending.line', { field, live: show(t, change, change.live), next: show(t, change, change.next) })}
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
    </div>
  )
}

type T = ReturnType<typeof useT<typeof messages.messages>>

const FIELDS = Object.keys(messages.messages.field) as (keyof typeof messages.messages.field)[]

/** `/disks/0/image` → "Disks › 0 › image"; a top-level field by its name. */
function fieldName(t: T, { path }: PendingChange): string {
  const [first = '', ...rest] = path.split('/').slice(1)
  const known = FIELDS.find((field) => field === first)
  return [known ? t(`field.${known}`) : first, ...rest].join(' › ')
}

function show(t: T, { path }: PendingChange, value: PendingChange['live']): string {
  if (path === '/memoryMiB' && typeof value === 'number') return formatMiB(value)
  if (value === null || value === undefined) return t('pending.none')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
