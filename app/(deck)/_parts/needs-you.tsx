'use client'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { useExtend } from '#components/lab/use-extend.ts'
import { ButtonLink } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Section } from '#components/ui/page.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { VmPrimaryAction } from '#components/vm/vm-actions-menu.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as labMessages } from '#lib/i18n/messages/en/lab.ts'
import { overview as messages } from '#lib/i18n/messages/en/overview.ts'
import { paths } from '#lib/paths.ts'
import type { Host } from '#lib/schema/host.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { leaseNeeds, needsAttention } from '#lib/vm/search.ts'

interface Need {
  readonly id: string
  readonly mark: Mark
  readonly title: string
  readonly detail: string
  readonly action: ReactNode
}

const SHOWN = 6

/** Everything that waits for a person, each with what to do. Nothing at all when nothing does. */
export function NeedsYou({ vms, host }: { readonly vms: readonly Vm[]; readonly host: Host | undefined }) {
  const t = useT(messages)
  const locale = useLocale()
  const storage = useQuery(queries.storageNeeds())
  const { data: schedules } = useQuery(queries.schedules())
  const { data: backups } = useQuery(queries.backupList())
  const needs: Need[] = []
  for (const { id, kind, title, detail } of storage.data?.items ?? []) {
    // Guests that their disks stopped are listed with the others below.
    if (kind === 'paused') continue
    needs.push({
      ...{ id, title, detail, mark: 'attention' },
      action: (
        <ButtonLink size="sm" href={paths.storage()}>
          {t('needs.look')}
        </ButtonLink>
      ),
    })
  }
  for (const vm of vms) {
    const { lease = null, idle = null } = vm.lab ?? {}
    const phase = leaseNeeds(vm)
    if (phase !== null)
      needs.push({
        id: `lease ${vm.id}`,
        mark: 'attention',
        title: t(`needs.lease.${phase}`, { name: vm.name }),
        detail: lease?.done ?? (lease?.endsAt == null ? '' : formatAbsolute(lease.endsAt, locale)),
        action: <ExtendAction vm={vm} isOver={phase === 'suspended'} />,
      })
    if (idle !== null && idle.pausesAt !== null)
      needs.push({
        id: `idle ${vm.id}`,
        mark: 'attention',
        title: t('needs.idle', { name: vm.name }),
        detail: idle.evidence,
        action: (
          <ButtonLink size="sm" href={paths.vmLab(vm.id)}>
            {t('needs.look')}
          </ButtonLink>
        ),
      })
    if (!needsAttention(vm)) continue
    const look = (
      <ButtonLink size="sm" href={paths.vm(vm.id)}>
        {t('needs.look')}
      </ButtonLink>
    )
    if (vm.state === 'crashed')
      needs.push({
        id: vm.id,
        mark: 'crashed',
        title: t('needs.crashed', { name: vm.name }),
        detail: vm.lastExit?.summary ?? '',
        action: (
          <>
            {look}
            <VmPrimaryAction vm={vm} size="sm" />
          </>
        ),
      })
    else if (vm.state === 'unmanageable' || vm.state === 'paused')
      needs.push({
        id: vm.id,
        mark: 'attention',
        title: t(`needs.${vm.state}`, { name: vm.name }),
        detail: vm.stateDetail ?? '',
        action: (
          <>
            {look}
            <VmPrimaryAction vm={vm} size="sm" />
          </>
        ),
      })
    else
      needs.push({
        id: vm.id,
        mark: 'attention',
        title: t('needs.pending', { name: vm.name, count: vm.pending.length }),
        detail: vm.pending[0]?.reason ?? '',
        action: look,
      })
  }
  for (const { id, target, kind, lastRun } of schedules?.items ?? []) {
    // Backups tell of theirs below, and of those that are late.
    if (lastRun?.result !== 'failed' || target.type !== 'vm' || kind === 'backup') continue
    needs.push({
      id,
      mark: 'attention',
      title: t(`needs.schedule.${kind}`, { name: vms.find((vm) => vm.id === target.id)?.name ?? '' }),
      detail: lastRun.message,
      action: (
        <ButtonLink size="sm" href={kind === 'power' ? paths.vmLab(target.id) : paths.vmSnapshots(target.id)}>
          {t('needs.look')}
        </ButtonLink>
      ),
    })
  }
  for (const concern of backups?.concerns ?? [])
    needs.push({
      id: `backup ${concern.vm.id}`,
      mark: 'attention',
      title: t(`needs.backup.${concern.kind}`, { name: concern.vm.name }),
      detail: concern.message,
      action: (
        <ButtonLink size="sm" href={paths.vmBackups(concern.vm.id)}>
          {t('needs.look')}
        </ButtonLink>
      ),
    })
  if (host && host.accelerator.kvm !== 'usable')
    needs.push({
      id: 'kvm',
      mark: 'attention',
      title: t('needs.kvm'),
      detail: host.accelerator.summary,
      action: (
        <ButtonLink size="sm" href={paths.host()}>
          {t('needs.why')}
        </ButtonLink>
      ),
    })
  for (const item of host?.readiness ?? [])
    if (item.need === 'required' && item.state !== 'ok' && item.state !== 'unknown')
      needs.push({
        id: item.id,
        mark: 'attention',
        title: t('needs.readiness', { title: item.title }),
        detail: item.purpose,
        action: (
          <ButtonLink size="sm" href={paths.host()}>
            {t('needs.mend')}
          </ButtonLink>
        ),
      })
  if (needs.length === 0) return null
  return (
    <Section title={t('needs.title')} note={<span className="figures">{needs.length}</span>}>
      <ul className="-mt-3 flex flex-col">
        {needs.slice(0, SHOWN).map((need) => (
          <li key={need.id} className="flex flex-wrap items-center gap-x-3 gap-y-2 border-line border-b py-2">
            <MarkIcon mark={need.mark} />
            <div className="min-w-0 flex-1 basis-60">
              <p className="font-medium">{need.title}</p>
              {need.detail && <p className="text-dim text-sm">{need.detail}</p>}
            </div>
            <div className="flex gap-2 max-sm:ps-6">{need.action}</div>
          </li>
        ))}
      </ul>
      {needs.length > SHOWN && (
        <ButtonLink variant="quiet" size="sm" className="self-start" href={`${paths.vms()}?q=needs%3Ayou`}>
          {t('needs.more', { count: needs.length - SHOWN })}
        </ButtonLink>
      )}
    </Section>
  )
}

function ExtendAction({ vm, isOver }: { readonly vm: Vm; readonly isOver: boolean }) {
  const t = useT(messages)
  const tLab = useT(labMessages)
  const may = useCan('vm.lease')
  const { extend, isPending } = useExtend(vm)
  return (
    <>
      <ButtonLink size="sm" href={paths.vmLab(vm.id)}>
        {t('needs.look')}
      </ButtonLink>
      <Button size="sm" pending={isPending} disabledReason={may ? null : tLab('notAllowed')} onClick={extend}>
        {tLab(isOver ? 'lease.undo' : 'lease.extend')}
      </Button>
    </>
  )
}
