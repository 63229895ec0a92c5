'use client'
import { type ReactNode, useState } from 'react'
import { Checkbox } from '#components/ui/choice.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatNumber } from '#lib/i18n/format.ts'
import { hostDevices as messages } from '#lib/i18n/messages/en/host-devices.ts'
import type { HostDevices, PciDevice, UsbDevice } from '#lib/schema/host-devices.ts'

const CELL = 'border-line border-b px-2 py-1.5 text-start align-top first:ps-0 last:pe-0'

/** A table that scrolls in itself where the page is narrow. */
function Table({
  title,
  columns,
  tools,
  children,
}: {
  readonly title: string
  readonly columns: readonly { readonly id: string; readonly label: string; readonly tip?: string }[]
  readonly tools?: ReactNode
  readonly children: ReactNode
}) {
  return (
    <div className="flex min-w-0 flex-col gap-2">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-1">
        <h3 className="text-faint">{title}</h3>
        {tools}
      </div>
      <section
        aria-label={title}
        className="overflow-x-auto"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
        tabIndex={0}
      >
        <table className="w-full min-w-[40rem] border-collapse text-sm">
          <thead className="text-faint">
            <tr>
              {columns.map(({ id, label, tip }) => (
                <th key={id} scope="col" className={`${CELL} font-medium`} data-tip={tip}>
                  {label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{children}</tbody>
        </table>
      </section>
    </div>
  )
}

/** A table without rows: its name, and why. */
function Empty({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <div className="flex flex-col gap-1">
      <h3 className="text-faint">{title}</h3>
      <p className="max-w-prose text-dim">{children}</p>
    </div>
  )
}

/** Whether a guest can have it; if not, why not and who has it. */
function Verdict({ device }: { readonly device: Pick<PciDevice, 'assignable' | 'reason' | 'usedFor'> }) {
  const t = useT(messages)
  // Mostly the reason names it already.
  const uses = device.usedFor.filter((use) => !device.reason?.includes(use))
  return (
    <span className="grid grid-cols-[0.75rem_minmax(0,1fr)] gap-x-2">
      <span className="mt-1">
        <MarkIcon mark={device.assignable ? 'running' : 'off'} />
      </span>
      <span>
        {device.assignable ? t('give') : (device.reason ?? '')}
        {uses.length > 0 && <span className="block text-faint">{t('pci.usedFor', { what: uses.join(', ') })}</span>}
      </span>
    </span>
  )
}

/** By group, as they can only go together; within it by address. */
const byGroup = (a: PciDevice, b: PciDevice): number =>
  (a.iommuGroup ?? -1) - (b.iommuGroup ?? -1) || a.address.localeCompare(b.address, 'en')

export function PciTable({ devices }: { readonly devices: readonly PciDevice[] }) {
  const t = useT(messages)
  const [onlyAssignable, setOnlyAssignable] = useState(false)
  const [bridges, setBridges] = useState(false)
  if (devices.length === 0) return <Empty title={t('pci.title')}>{t('pci.empty')}</Empty>
  const shown = devices
    .filter((device) => (bridges || !device.isBridge) && (!onlyAssignable || device.assignable))
    .sort(byGroup)
  return (
    <Table
      title={t('pci.title')}
      columns={[
        { id: 'address', label: t('pci.address') },
        { id: 'device', label: t('pci.device') },
        { id: 'group', label: t('pci.group'), tip: t('pci.groupTip') },
        { id: 'driver', label: t('pci.driver') },
        { id: 'verdict', label: t('pci.verdict') },
      ]}
      tools={
        <>
          <Checkbox
            label={t('onlyAssignable', { count: devices.filter((device) => device.assignable).length })}
            checked={onlyAssignable}
            onChange={(event) => setOnlyAssignable(event.target.checked)}
          />
          <Checkbox
            label={t('bridges', { count: devices.filter((device) => device.isBridge).length })}
            checked={bridges}
            onChange={(event) => setBridges(event.target.checked)}
          />
        </>
      }
    >
      {shown.length === 0 && (
        <tr>
          <td colSpan={5} className={`${CELL} text-dim`}>
            {t('none')}
          </td>
        </tr>
      )}
      {shown.map((device) => (
        <tr key={device.address}>
          <th scope="row" className={`${CELL} figures whitespace-nowrap font-mono font-normal`}>
            {device.address}
          </th>
          <td className={CELL}>
            <PciName device={device} />
          </td>
          <td className={`${CELL} figures`}>
            {device.iommuGroup ?? t('pci.noGroup')}
            {device.groupWith.length > 0 && (
              <span className="block text-faint">{t('pci.with', { addresses: device.groupWith.join(', ') })}</span>
            )}
          </td>
          <td className={`${CELL} font-mono`}>
            {device.driver ?? <span className="font-sans text-faint">{t('pci.noDriver')}</span>}
          </td>
          <td className={`${CELL} max-w-96`}>
            <Verdict device={device} />
          </td>
        </tr>
      ))}
    </Table>
  )
}

function PciName({ device }: { readonly device: PciDevice }) {
  const t = useT(messages)
  const name = [device.vendorName, device.deviceName].filter((part) => part !== null).join(' ')
  const notes = [
    device.className,
    `${device.vendorId}:${device.deviceId}`,
    device.numaNode === null ? null : t('pci.node', { node: device.numaNode }),
    device.sriov === null
      ? null
      : t('pci.virtualFunctions', { count: device.sriov.functions.length, total: device.sriov.total }),
    device.bootVga ? t('pci.bootVga') : null,
  ].filter((note) => note !== null)
  return (
    <>
      {name !== '' && <span className="block">{name}</span>}
      <span className={name === '' ? '' : 'text-faint'}>{notes.join(' · ')}</span>
    </>
  )
}

export function UsbTable({ devices }: { readonly devices: readonly UsbDevice[] }) {
  const t = useT(messages)
  const locale = useLocale()
  const [hubs, setHubs] = useState(false)
  const hubCount = devices.filter((device) => device.isHub).length
  if (devices.length === hubCount) return <Empty title={t('usb.title')}>{t('usb.empty')}</Empty>
  const shown = devices.filter((device) => hubs || !device.isHub)
  return (
    <Table
      title={t('usb.title')}
      columns={[
        { id: 'socket', label: t('usb.socket') },
        { id: 'device', label: t('usb.device') },
        { id: 'kinds', label: t('usb.kinds') },
        { id: 'speed', label: t('usb.speed') },
        { id: 'verdict', label: t('usb.verdict') },
      ]}
      tools={
        hubCount > 0 && (
          <Checkbox
            label={t('hubs', { count: hubCount })}
            checked={hubs}
            onChange={(event) => setHubs(event.target.checked)}
          />
        )
      }
    >
      {shown.map((device) => {
        const name = [device.vendorName, device.productName].filter((part) => part !== null).join(' ')
        return (
          <tr key={device.path}>
            <th scope="row" className={`${CELL} figures whitespace-nowrap font-mono font-normal`}>
              {device.path}
            </th>
            <td className={CELL}>
              {name !== '' && <span className="block">{name}</span>}
              <span className={`font-mono ${name === '' ? '' : 'text-faint'}`}>
                {device.vendorId}:{device.productId}
              </span>
            </td>
            <td className={CELL}>{device.kinds.join(', ')}</td>
            <td className={`${CELL} figures whitespace-nowrap`}>
              {device.speedMbps === null ? '' : `${formatNumber(device.speedMbps, locale, 1)} Mbit/s`}
            </td>
            <td className={`${CELL} max-w-96`}>
              <Verdict device={device} />
            </td>
          </tr>
        )
      })}
    </Table>
  )
}

export function MdevTable({ mdev }: { readonly mdev: HostDevices['mdev'] }) {
  const t = useT(messages)
  if (mdev.types.length + mdev.instances.length === 0) return <Empty title={t('mdev.title')}>{t('mdev.empty')}</Empty>
  return (
    <>
      <Table
        title={t('mdev.title')}
        columns={[
          { id: 'type', label: t('mdev.type') },
          { id: 'parent', label: t('mdev.parent') },
          { id: 'available', label: t('mdev.available') },
        ]}
      >
        {mdev.types.map((type) => (
          <tr key={`${type.parent} ${type.id}`}>
            <th scope="row" className={`${CELL} font-normal`}>
              <span className="block font-mono">{type.id}</span>
              <span className="text-faint">
                {[type.name, type.description].filter((part) => part !== null).join(' · ')}
              </span>
            </th>
            <td className={`${CELL} font-mono`}>{type.parent}</td>
            <td className={`${CELL} figures`}>{type.available}</td>
          </tr>
        ))}
      </Table>
      {mdev.instances.length > 0 && (
        <div>
          <h4 className="text-faint text-sm">{t('mdev.instances')}</h4>
          <ul>
            {mdev.instances.map(({ uuid, type, parent, iommuGroup }) => (
              <li key={uuid} className="flex flex-wrap gap-x-3">
                <span className="font-mono text-sm">{uuid}</span>
                <span className="text-dim">{[type, parent].filter((part) => part !== null).join(' · ')}</span>
                {iommuGroup !== null && <span className="text-faint">{t('mdev.group', { group: iommuGroup })}</span>}
              </li>
            ))}
          </ul>
        </div>
      )}
    </>
  )
}
