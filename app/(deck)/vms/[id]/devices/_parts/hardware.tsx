'use client'
import { useQuery } from '@tanstack/react-query'
import { RotateCw } from 'lucide-react'
import { Fragment } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { IconButton } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { GuestDevice } from '#lib/schema/vm-devices.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { targetOfField } from './entries.ts'
import { treeOf } from './tree.ts'

/** The buses of the running guest as QEMU reports them, each device linked to what it is made from. */
export function Hardware({ vm }: { readonly vm: Vm }) {
  const t = useT(devicesPage)
  const isOff = vm.live === undefined
  const read = useQuery({
    // A change, a device that left late, and a new process each show another machine.
    ...queries.vmDevices(vm.id, [vm.revision, vm.live?.pid ?? 0, JSON.stringify(vm.pending)].join(' ')),
    enabled: !isOff,
  })
  const items = read.data?.items
  return (
    <Section
      title={t('hardware.title')}
      note={isOff ? null : t('hardware.note')}
      actions={
        !isOff && (
          <IconButton
            size="sm"
            label={t('hardware.refresh')}
            pending={read.isFetching}
            onClick={() => void read.refetch()}
          >
            <RotateCw size={14} aria-hidden="true" />
          </IconButton>
        )
      }
    >
      {isOff ? (
        <p className="text-dim">{t('hardware.off')}</p>
      ) : items ? (
        items.length === 0 ? (
          <p className="text-dim">{t('hardware.empty')}</p>
        ) : (
          <div className="flex flex-col gap-4">
            {treeOf(items).map(({ bus, rows }) => (
              <section key={bus} aria-label={t(`hardware.bus.${bus}`)} className="flex min-w-0 flex-col gap-1">
                <h3 className="text-dim text-sm">{t(`hardware.bus.${bus}`)}</h3>
                <ul className="flex flex-col divide-y divide-line rounded-md border border-line bg-surface text-sm">
                  {rows.map(({ device, depth }) => (
                    <li key={device.key} className="px-3 py-1.5">
                      <DeviceLine vm={vm} device={device} depth={depth} />
                    </li>
                  ))}
                </ul>
              </section>
            ))}
          </div>
        )
      ) : read.error ? (
        <LoadError error={read.error} onRetry={() => void read.refetch()} />
      ) : (
        <div aria-busy="true" className="flex flex-col gap-2">
          <Skeleton className="h-8 w-full" />
          <Skeleton className="h-8 w-full" />
          <Skeleton className="h-8 w-full" />
        </div>
      )}
    </Section>
  )
}

const INDENT = ['', 'ps-4', 'ps-8', 'ps-12', 'ps-16'] as const

function DeviceLine({ vm, device, depth }: { readonly vm: Vm; readonly device: GuestDevice; readonly depth: number }) {
  const t = useT(devicesPage)
  const target = device.field === null ? null : targetOfField(vm.spec, device.field)
  const name =
    target === null
      ? null
      : target.kind === 'device'
        ? target.id
        : target.kind === 'part'
          ? t(`part.${target.part}`)
          : null
  const anchor =
    target?.kind === 'device' ? `device-${target.id}` : target?.kind === 'part' ? `part-${target.part}` : ''
  return (
    <div className="grid gap-x-3 gap-y-0.5 sm:grid-cols-[6rem_minmax(0,1fr)_auto]">
      <code className="figures font-mono text-faint [overflow-wrap:anywhere]">{device.address ?? ''}</code>
      <span className={`min-w-0 [overflow-wrap:anywhere] ${INDENT[Math.min(depth, INDENT.length - 1)]}`}>
        {device.description ?? device.type}
        <span className="text-faint">
          {' '}
          <code className="font-mono">{device.type}</code>
          {device.pciId && (
            <Fragment>
              {' '}
              <code className="font-mono">{device.pciId}</code>
            </Fragment>
          )}
        </span>{' '}
        {device.state === 'leaving' && <Badge tone="attention">{t('hardware.leaving')}</Badge>}
      </span>
      <span className="sm:text-end">
        {name === null ? (
          <span className="text-faint">{device.state === 'leaving' ? device.id : t('hardware.board')}</span>
        ) : (
          <a
            href={`#${anchor}`}
            aria-label={t('hardware.toDevice', { name })}
            className="rounded-sm text-accent underline-offset-2 hover:underline"
          >
            {name}
          </a>
        )}
      </span>
    </div>
  )
}
