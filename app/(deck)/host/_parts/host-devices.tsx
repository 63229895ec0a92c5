'use client'
import { useQuery } from '@tanstack/react-query'
import { RefreshCw } from 'lucide-react'
import type { ReactNode } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Facts, Section } from '#components/ui/page.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { hostDevices as messages } from '#lib/i18n/messages/en/host-devices.ts'
import type { HostDevices as Devices, HugePages, KernelDevice } from '#lib/schema/host-devices.ts'
import { MdevTable, PciTable, UsbTable } from './host-device-tables.tsx'

/** The host's own hardware: what of it a guest can be given, and what stands in the way of the rest. */
export function HostDevices() {
  const t = useT(messages)
  const { data, error, refetch, isFetching } = useQuery(queries.hostDevices())
  return (
    <Section
      title={t('title')}
      actions={
        <Button
          size="sm"
          pending={isFetching && data !== undefined}
          icon={<RefreshCw size={14} aria-hidden="true" />}
          onClick={() => void refetch()}
        >
          {t('refresh')}
        </Button>
      }
    >
      {error && !data ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Skeleton className="h-64 w-full" />
      ) : (
        <>
          <Banner tone={data.iommu.enabled ? 'info' : 'attention'}>
            <p className="font-medium">{t(data.iommu.enabled ? 'iommu' : 'noIommu')}</p>
            <p>{data.iommu.reason}</p>
          </Banner>
          <PciTable devices={data.pci} />
          <UsbTable devices={data.usb} />
          <MdevTable mdev={data.mdev} />
          <div className="grid items-start gap-x-8 gap-y-5 lg:grid-cols-2">
            <Part title={t('memory.title')}>
              <Memory devices={data} />
            </Part>
            <div className="flex min-w-0 flex-col gap-5">
              <Part title={t('network.title')}>
                <Bridges interfaces={data.interfaces} />
              </Part>
              <Part title={t('kernel.title')}>
                <Kernel devices={data.kernel} />
              </Part>
            </div>
          </div>
        </>
      )}
    </Section>
  )
}

function Part({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <section aria-label={title} className="flex min-w-0 flex-col gap-2">
      <h3 className="text-faint">{title}</h3>
      {children}
    </section>
  )
}

/** `0, 1, 2, 4` → `0-2, 4`. */
function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = []
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = parts.at(-1)
    if (last && last[1] === number - 1) last[1] = number
    else parts.push([number, number])
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ')
}

/** Sets aside one GiB of these pages; the kernel may find fewer. */
const reserveCommand = ({ sizeKiB, total }: HugePages): string =>
  `echo ${total + 1_048_576 / sizeKiB} > /sys/kernel/mm/hugepages/hugepages-${sizeKiB}kB/nr_hugepages`

function Memory({ devices }: { readonly devices: Devices }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const isolated = devices.cpus.filter((cpu) => cpu.isolated).map((cpu) => cpu.cpu)
  const pools = devices.hugePages.filter(({ sizeKiB }) => sizeKiB <= 1_048_576)
  return (
    <Facts
      facts={[
        ...pools.map((pool) => ({
          label: t('memory.hugePages', { size: formatBytes(pool.sizeKiB * 1024, locale) }),
          value:
            pool.total === 0 ? (
              <>
                <span className="text-dim">{t('memory.noPages')}</span>
                <span className="flex items-center gap-1">
                  <code className="min-w-0 break-all font-mono text-sm">{reserveCommand(pool)}</code>
                  <CopyButton
                    text={reserveCommand(pool)}
                    label={t('memory.copyPages', { size: formatBytes(pool.sizeKiB * 1024, locale) })}
                    copiedLabel={tApp('copied')}
                  />
                </span>
              </>
            ) : (
              <span className="figures">{t('memory.pages', { free: pool.free, total: pool.total })}</span>
            ),
        })),
        ...(devices.numa.length > 1
          ? devices.numa.map((node) => ({
              label: t('memory.numa', { node: node.node }),
              value: (
                <span className="figures">
                  {t('memory.node', {
                    cpus: ranges(node.cpus),
                    free: formatMiB(node.freeMiB, locale),
                    total: formatMiB(node.memoryMiB, locale),
                  })}
                </span>
              ),
            }))
          : [{ label: 'NUMA', value: t('memory.noNuma') }]),
        {
          label: t('memory.isolated'),
          value: isolated.length === 0 ? t('memory.noIsolated') : <span className="figures">{ranges(isolated)}</span>,
        },
      ]}
    />
  )
}

function Bridges({ interfaces }: { readonly interfaces: Devices['interfaces'] }) {
  const t = useT(messages)
  const bridges = interfaces.filter(({ kind }) => kind === 'bridge')
  if (bridges.length === 0) return <p className="text-dim">{t('network.empty')}</p>
  return (
    <ul className="flex flex-col">
      {bridges.map(({ name, up, members, mtu }) => (
        <li key={name} className="flex flex-wrap items-baseline gap-x-3 border-line border-b py-1.5 last:border-b-0">
          <span className="flex items-center gap-2">
            <MarkIcon mark={up ? 'running' : 'off'} />
            <span className="font-mono">{name}</span>
          </span>
          <span className="text-dim">{t(up ? 'network.up' : 'network.down')}</span>
          <span className="text-dim">
            {members.length === 0 ? t('network.noMembers') : t('network.members', { members: members.join(', ') })}
          </span>
          {mtu !== null && (
            <span className="figures ms-auto text-faint text-sm">{t('network.mtu', { mtu: String(mtu) })}</span>
          )}
        </li>
      ))}
    </ul>
  )
}

const KERNEL_MARK = { ok: 'running', missing: 'off', closed: 'attention' } as const satisfies Record<string, Mark>
const kernelState = ({ present, opens }: KernelDevice): keyof typeof KERNEL_MARK =>
  !present ? 'missing' : opens ? 'ok' : 'closed'

function Kernel({ devices }: { readonly devices: readonly KernelDevice[] }) {
  const t = useT(messages)
  const tApp = useT(app)
  return (
    <ul className="flex flex-col">
      {devices.map((device) => {
        const state = kernelState(device)
        return (
          <li
            key={device.id}
            className="grid grid-cols-[0.75rem_minmax(0,1fr)] gap-x-3 border-line border-b py-1.5 last:border-b-0"
          >
            <span className="mt-1">
              <MarkIcon mark={KERNEL_MARK[state]} />
            </span>
            <div className="min-w-0">
              <p className="flex flex-wrap items-baseline gap-x-2">
                <span className="font-mono">{device.path}</span>
                <span className="ms-auto text-faint text-sm">{t(`kernel.${state}`)}</span>
              </p>
              <p className="text-dim text-sm">{device.purpose}</p>
              {state !== 'ok' && <p className="break-words text-sm">{device.detail}</p>}
              {state !== 'ok' && device.command !== null && (
                <p className="flex items-center gap-1">
                  <code className="min-w-0 break-all font-mono text-sm">{device.command}</code>
                  <CopyButton
                    text={device.command}
                    label={t('kernel.copy', { name: device.path })}
                    copiedLabel={tApp('copied')}
                  />
                </p>
              )}
            </div>
          </li>
        )
      })}
    </ul>
  )
}
