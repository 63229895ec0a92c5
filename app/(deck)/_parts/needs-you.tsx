'use client'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Section } from '#components/ui/page.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { VmPrimaryAction } from '#components/vm/vm-actions-menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { overview as messages } from '#lib/i18n/messages/en/overview.ts'
import { paths } from '#lib/paths.ts'
import type { Host } from '#lib/schema/host.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { needsAttention } from '#lib/vm/search.ts'

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
  const storage = useQuery(queries.storageNeeds())
  const { data: schedules } = useQuery(queries.schedules())
  const { data: backups } = useQuery(queries.backupList())
  const needs: Need[] = []
  for (const { id, title, detail } of storage.data?.items ?? [])
    needs.push({
      ...{ id, title, detail, mark: 'attention' },
      action: (
        <ButtonLink size="sm" href={paths.storage()}>
          {t('needs.look')}
        </ButtonLink>
      ),
    })
  for (const vm of vms) {
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
        <ButtonLink size="sm" href={paths.vmSnapshots(target.id)}>
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
