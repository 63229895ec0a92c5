'use client'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { useExtend } from '#components/lab/use-extend.ts'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Above every tab: a lease that ends or has ended with its one way back, and a VM that will be paused as idle. */
export function LabBar({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const mayNot = useMayNotVm(vm, 'vm.lease')
  const { extend, isPending } = useExtend(vm)
  const lease = vm.lab?.lease ?? null
  const idle = vm.lab?.idle ?? null
  const isShown = lease !== null && lease.phase !== 'active'
  const isIdleShown = idle !== null && (idle.paused || idle.pausesAt !== null)
  if (!isShown && !isIdleShown) return null
  return (
    <div className="flex flex-col gap-2 px-4 pt-3 sm:px-6" role="status">
      {isShown && (
        <Banner
          tone="attention"
          actions={
            <Button size="sm" pending={isPending} disabledReason={mayNot} onClick={extend}>
              {t(lease.phase === 'warned' ? 'lease.extend' : 'lease.undo')}
            </Button>
          }
        >
          <p>
            {lease.phase === 'warned'
              ? t.rich('lease.bar.warned', { time: () => <Time at={lease.endsAt ?? lease.since} /> })
              : t(lease.phase === 'suspended' ? 'lease.bar.suspended' : 'lease.bar.archived')}
          </p>
          {lease.done !== null && <p className="text-dim text-sm">{lease.done}</p>}
        </Banner>
      )}
      {isIdleShown && (
        <Banner tone="attention">
          <p>
            {idle.paused
              ? t('idle.paused')
              : t.rich('idle.pauses', { time: () => <Time at={idle.pausesAt ?? idle.since} /> })}
          </p>
          <p className="text-dim text-sm">{idle.evidence}</p>
        </Banner>
      )}
    </div>
  )
}
