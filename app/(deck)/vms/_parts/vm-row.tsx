'use client'
import NextLink from 'next/link'
import { memo, type ReactNode } from 'react'
import { Link } from '#components/nav/link.tsx'
import { Elapsed } from '#components/text/time.tsx'
import { badgeClass } from '#components/ui/badge.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { cx } from '#components/ui/cx.ts'
import { Sparkline } from '#components/ui/sparkline.tsx'
import { MARK_OF_STATE, MarkIcon } from '#components/ui/state-mark.tsx'
import { AcceleratorTag } from '#components/vm/accelerator-badge.tsx'
import { LineageBadges } from '#components/vm/lineage-badges.tsx'
import { VmActionsMenu } from '#components/vm/vm-actions-menu.tsx'
import { VmStateMark } from '#components/vm/vm-state.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { loadHistory } from '#lib/client/load-history.ts'
import { formatMiB, formatPercent } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vms as messages } from '#lib/i18n/messages/en/vms.ts'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { VmColumn } from '#lib/vm/sort.ts'
import { COLUMN_CLASS } from './column-class.ts'

export interface VmRowProps {
  readonly vm: Vm
  readonly index: number
  readonly columns: readonly VmColumn[]
  readonly selected: boolean
  readonly onSelect: (id: string, upToHere: boolean) => void
}

/** One VM. Rendered again only when this VM changes, so that a thousand rows can be live. */
export const VmRow = memo(function VmRow({ vm, index, columns, selected, onSelect }: VmRowProps) {
  const t = useT(messages)
  return (
    <tr
      data-id={vm.id}
      aria-rowindex={index + 2}
      className={cx(
        'group h-14 border-line border-b md:h-9',
        selected ? 'bg-selected' : 'hover:bg-hover has-[[data-row-link]:focus-visible]:bg-hover',
      )}
    >
      <td className="ps-1">
        <Checkbox
          label={t('select', { name: vm.name })}
          hideLabel
          checked={selected}
          onChange={(event) => onSelect(vm.id, (event.nativeEvent as MouseEvent).shiftKey === true)}
        />
      </td>
      {columns.map((column) => (
        <td key={column} className={cx('truncate px-2', COLUMN_CLASS[column])}>
          <Cell vm={vm} column={column} />
        </td>
      ))}
      <td className="text-end">
        <VmActionsMenu vm={vm} size="sm" />
      </td>
    </tr>
  )
})

function Cell({ vm, column }: { readonly vm: Vm; readonly column: VmColumn }): ReactNode {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const { live, spec } = vm
  switch (column) {
    case 'state':
      return <VmStateMark state={vm.state} />
    case 'name':
      return <NameCell vm={vm} />
    case 'guest':
      return tApp(`guest.${spec.guest}`)
    case 'accelerator':
      return <AcceleratorTag accelerator={vm.accelerator} />
    case 'cpu': {
      if (!live || live.cpuLoad === null) return <Absent />
      const share = live.cpuLoad / live.vcpus
      return (
        <span
          className="flex items-center gap-2"
          data-tip={t('cpuOf', { load: formatPercent(share, locale), cpus: live.vcpus })}
        >
          <span className="figures w-9 text-end">{formatPercent(share, locale)}</span>
          <Sparkline values={loadHistory(vm.id)} max={live.vcpus} className="h-4 w-11" />
        </span>
      )
    }
    case 'memory':
      return <span className="figures">{formatMiB(spec.memoryMiB, locale)}</span>
    case 'address':
      return live?.addresses[0] ? (
        <span
          className="font-mono text-sm"
          data-tip={live.addresses.length > 1 ? live.addresses.join('\n') : undefined}
        >
          {live.addresses[0]}
        </span>
      ) : (
        <Absent />
      )
    case 'owner':
      return vm.owner.name
    case 'project':
      return vm.project === undefined ? <Absent /> : <Link href={paths.project(vm.project.id)}>{vm.project.name}</Link>
    case 'tags':
      return spec.tags.length > 0 ? (
        <span className="flex gap-1 overflow-hidden">
          {spec.tags.map((tag) => (
            <span key={tag} className={badgeClass()}>
              {tag}
            </span>
          ))}
        </span>
      ) : (
        <Absent />
      )
    case 'uptime':
      return live ? <Elapsed since={vm.since} /> : <Absent />
  }
}

/** Name; at phone width also the state and the size, because their columns are gone. */
function NameCell({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  return (
    <span className="flex min-w-0 flex-col">
      <span className="flex min-w-0 items-center gap-1.5">
        <NextLink
          href={paths.vm(vm.id)}
          prefetch={false}
          data-row-link={vm.id}
          className="truncate rounded-sm font-medium hover:underline"
        >
          {vm.name}
        </NextLink>
        <LineageBadges vm={vm} />
        {vm.project !== undefined && (
          <span className="max-w-28 shrink-0 truncate text-faint text-sm max-md:hidden min-[84rem]:hidden">
            <span className="sr-only">{t('inProject', { name: vm.project.name })}</span>
            <span aria-hidden="true">{vm.project.name}</span>
          </span>
        )}
        {vm.pending.length > 0 && (
          <span className="flex shrink-0" data-tip={t('pendingMark')}>
            <MarkIcon mark="attention" className="size-2.5" />
            <span className="sr-only">{t('pendingMark')}</span>
          </span>
        )}
      </span>
      <span className="flex items-center gap-1.5 truncate text-faint text-sm md:hidden">
        <MarkIcon mark={MARK_OF_STATE[vm.state]} className="size-2.5" />
        <span className="truncate">
          {tApp(`state.${vm.state}`)} · {formatMiB(vm.spec.memoryMiB, locale)}
          {vm.live?.addresses[0] && ` · ${vm.live.addresses[0]}`}
          {` · ${vm.owner.name}`}
          {vm.project && ` · ${vm.project.name}`}
        </span>
      </span>
    </span>
  )
}

const Absent = () => (
  <span aria-hidden="true" className="text-faint">
    –
  </span>
)
