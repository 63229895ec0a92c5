'use client'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Disclosure, Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { hostDevices as messages } from '#lib/i18n/messages/en/host-devices.ts'
import type { HostDevices as Devices, PciDevice } from '#lib/schema/host-devices.ts'

/** The host's own hardware: what a guest could be given, with the reason where it cannot. */
export function HostDevices() {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.hostDevices())
  return (
    <Section title={t('title')} note={t('note')}>
      {data ? (
        <div className="flex flex-col divide-y divide-line">
          <Pci devices={data} />
          <Usb devices={data} />
          <Mdev devices={data} />
          <Memory devices={data} />
          <Bridges devices={data} />
          <Kernel devices={data} />
        </div>
      ) : error ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : (
        <Skeleton className="h-40 w-full" />
      )}
    </Section>
  )
}

interface Props {
  readonly devices: Devices
}

/** One kind of device: closed, with how many there are. */
function Kind({
  title,
  count,
  hint,
  children,
}: {
  readonly title: string
  readonly count: number
  readonly hint?: string
  readonly children: ReactNode
}) {
  const t = useT(messages)
  return (
    <div className="py-2.5">
      <Disclosure
        summary={
          <span className="flex min-w-0 flex-wrap gap-x-2">
            <span className="font-medium text-ink">{title}</span>
            <span className="figures text-faint">{t('more', { count })}</span>
          </span>
        }
      >
        <div className="flex flex-col gap-2 ps-5 pb-1">
          {hint && <p className="max-w-prose text-dim text-sm">{hint}</p>}
          {count === 0 ? <p className="text-dim">{t('none')}</p> : children}
        </div>
      </Disclosure>
    </div>
  )
}

function Line({
  id,
  name,
  assignable,
  reason,
  facts,
}: {
  readonly id: string
  readonly name: string
  readonly assignable: boolean
  readonly reason: string | null
  readonly facts: readonly (string | null)[]
}) {
  const t = useT(messages)
  return (
    <li className="flex flex-col gap-0.5 py-1.5">
      <span className="flex flex-wrap items-baseline gap-x-2 gap-y-1">
        <code className="font-mono text-dim text-sm">{id}</code>
        <span className="min-w-0 break-words">{name}</span>
        <Badge tone={assignable ? 'running' : 'plain'}>{t(assignable ? 'assignable' : 'notAssignable')}</Badge>
      </span>
      <span className="text-faint text-sm">{[...facts, reason].filter(Boolean).join(' · ')}</span>
    </li>
  )
}

function Pci({ devices }: Props) {
  const t = useT(messages)
  const own = devices.pci.filter((device) => !device.isBridge)
  const groups = new Map<number | null, PciDevice[]>()
  for (const device of own) groups.set(device.iommuGroup, [...(groups.get(device.iommuGroup) ?? []), device])
  return (
    <Kind title={t('pci')} count={own.length} hint={`${devices.iommu.reason} ${t('pciHint')}`}>
      {[...groups].map(([group, members]) => (
        <div key={group ?? 'none'}>
          <h3 className="text-faint text-sm">{group === null ? t('noGroup') : t('group', { group })}</h3>
          <ul className="flex flex-col divide-y divide-line">
            {members.map((device) => (
              <Line
                key={device.address}
                id={device.address}
                name={[device.vendorName, device.deviceName].filter(Boolean).join(' ') || device.className}
                assignable={device.assignable}
                reason={device.reason}
                facts={[
                  `${device.vendorId}:${device.deviceId}`,
                  device.driver && t('driver', { name: device.driver }),
                  device.usedFor.length > 0 ? t('usedFor', { what: device.usedFor.join(', ') }) : null,
                ]}
              />
            ))}
          </ul>
        </div>
      ))}
    </Kind>
  )
}

function Usb({ devices }: Props) {
  const t = useT(messages)
  const own = devices.usb.filter((device) => !device.isHub)
  return (
    <Kind title={t('usb')} count={own.length}>
      <ul className="flex flex-col divide-y divide-line">
        {own.map((device) => (
          <Line
            key={`${device.path} ${device.address}`}
            id={device.path}
            name={[device.vendorName, device.productName].filter(Boolean).join(' ') || device.kinds.join(', ')}
            assignable={device.assignable}
            reason={device.reason}
            facts={[
              `${device.vendorId}:${device.productId}`,
              device.usedFor.length > 0 ? t('usedFor', { what: device.usedFor.join(', ') }) : null,
            ]}
          />
        ))}
      </ul>
    </Kind>
  )
}

function Mdev({ devices }: Props) {
  const t = useT(messages)
  const { types, instances } = devices.mdev
  return (
    <Kind title={t('mdev')} count={instances.length + types.length}>
      <ul className="flex flex-col divide-y divide-line">
        {instances.map((instance) => (
          <Line
            key={instance.uuid}
            id={instance.uuid}
            name={instance.type ?? ''}
            assignable
            reason={null}
            facts={[instance.parent]}
          />
        ))}
        {types.map((type) => (
          <li key={`${type.parent} ${type.id}`} className="py-1.5">
            <code className="font-mono text-dim text-sm">{type.parent}</code>{' '}
            {t('mdevFree', { name: type.name ?? type.id, available: type.available })}
          </li>
        ))}
      </ul>
    </Kind>
  )
}

function Memory({ devices }: Props) {
  const t = useT(messages)
  const locale = useLocale()
  return (
    <Kind title={t('memory')} count={devices.hugePages.length + devices.numa.length}>
      <ul className="figures flex flex-col gap-1">
        {devices.hugePages.map((pages) => (
          <li key={pages.sizeKiB}>
            <span className="text-faint">{t('hugePages', { size: formatBytes(pages.sizeKiB * 1024, locale) })}:</span>{' '}
            {t('hugePagesValue', { free: pages.free, total: pages.total })}
          </li>
        ))}
        {devices.numa.map((node) => (
          <li key={node.node}>
            <span className="text-faint">{t('node', { node: node.node })}:</span>{' '}
            {t('nodeValue', {
              cpus: node.cpus.length,
              free: formatMiB(Math.round(node.freeMiB), locale),
              total: formatMiB(Math.round(node.memoryMiB), locale),
            })}
          </li>
        ))}
      </ul>
    </Kind>
  )
}

function Bridges({ devices }: Props) {
  const t = useT(messages)
  const bridges = devices.interfaces.filter((entry) => entry.kind === 'bridge')
  return (
    <Kind title={t('bridges')} count={bridges.length}>
      <ul className="flex flex-col gap-1">
        {bridges.map((bridge) => (
          <li key={bridge.name}>
            <code className="font-mono text-sm">{bridge.name}</code>{' '}
            <span className="text-faint">
              {t(bridge.up ? 'bridgeUp' : 'bridgeDown')}
              {bridge.members.length > 0 && `, ${t('members', { names: bridge.members.join(', ') })}`}
            </span>
          </li>
        ))}
      </ul>
    </Kind>
  )
}

function Kernel({ devices }: Props) {
  const t = useT(messages)
  const tApp = useT(app)
  return (
    <Kind title={t('kernel')} count={devices.kernel.length}>
      <ul className="flex flex-col divide-y divide-line">
        {devices.kernel.map((file) => (
          <li key={file.id} className="flex flex-col gap-0.5 py-1.5">
            <span className="flex flex-wrap items-baseline gap-x-2 gap-y-1">
              <code className="font-mono text-sm">{file.path}</code>
              <Badge tone={file.opens ? 'running' : 'plain'}>
                {t(file.opens ? 'kernelState.opens' : file.present ? 'kernelState.closed' : 'kernelState.missing')}
              </Badge>
            </span>
            <span className="text-dim text-sm">
              {file.purpose} {file.detail}
            </span>
            {file.command && (
              <span className="flex flex-wrap items-center gap-2">
                <code className="min-w-0 break-all font-mono text-sm">{file.command}</code>
                <CopyButton text={file.command} label={t('copy', { name: file.path })} copiedLabel={tApp('copied')} />
              </span>
            )}
          </li>
        ))}
      </ul>
    </Kind>
  )
}
