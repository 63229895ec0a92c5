'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Link } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { type Fact, Facts, Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { vm as vmMessages } from '#lib/i18n/messages/en/vm.ts'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import { paths } from '#lib/paths.ts'
import type { Drive } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const CdDialog = dynamic(() => import('./cd-dialog.tsx').then((m) => m.CdDialog), { ssr: false })

/** The devices in a few lines; the CD can be changed from here. */
export function VmDevices({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const tVm = useT(vmMessages)
  const { data: images } = useQuery(queries.imageList())
  const [drive, setDrive] = useState<string | null>(null)
  const { spec } = vm
  const imageName = (id: string) => images?.items.find((image) => image.id === id)?.name ?? t('devices.missingImage')

  const driveValue = (disk: Drive) =>
    disk.device === 'disk' ? (
      <>
        <span className="figures">{t('devices.diskValue', { size: String(disk.sizeGiB), bus: disk.bus })}</span>
        <span className="text-dim">
          , {disk.image ? t('devices.fromImage', { name: imageName(disk.image) }) : t('devices.blank')}
        </span>
      </>
    ) : (
      <span className="flex flex-wrap items-center gap-x-2 gap-y-1">
        <span className="min-w-0 break-all">
          {disk.seed !== null ? (
            t('devices.seed')
          ) : disk.image ? (
            imageName(disk.image)
          ) : (
            <span className="text-faint">{t('devices.empty')}</span>
          )}
        </span>
        <Button
          size="sm"
          aria-label={t('devices.changeNamed', { id: disk.id })}
          disabledReason={vm.actions.change?.reason ?? (disk.seed === null ? null : t('devices.seedHeld'))}
          onClick={() => setDrive(disk.id)}
        >
          {t('devices.change')}
        </Button>
      </span>
    )

  const others = (['usbInput', 'serial', 'rng', 'balloon', 'agentChannel'] as const).filter((device) => spec[device])
  const facts: Fact[] = [
    ...spec.disks.map((disk) => ({
      label: `${t(disk.device === 'disk' ? 'devices.disk' : 'devices.cdrom')} ${disk.id}`,
      value: driveValue(disk),
    })),
    ...spec.networks.map((card) => ({
      label: `${t('devices.network')} ${card.id}`,
      value: (
        <>
          {card.model}, {t('devices.user')}
          {card.restrict && `, ${t('devices.restricted')}`}
          <code className="block font-mono text-dim text-sm">{card.mac}</code>
          {card.forwards.map((forward) => (
            <span key={`${forward.protocol}${forward.hostPort}`} className="block text-dim text-sm">
              {t('devices.forward', {
                protocol: forward.protocol.toUpperCase(),
                hostPort: String(forward.hostPort),
                guestPort: String(forward.guestPort),
              })}
            </span>
          ))}
        </>
      ),
    })),
    { label: t('devices.display'), value: t(`devices.displays.${spec.display}`) },
    { label: t('devices.firmware'), value: t(`devices.firmwares.${spec.firmware}`) },
    { label: t('devices.machine'), value: <code className="font-mono text-sm">{spec.machine}</code> },
    { label: t('devices.others'), value: others.map((device) => tVm(`field.${device}`)).join(', ') || '–' },
  ]
  const chosen = spec.disks.find((disk) => disk.id === drive)
  return (
    <Section
      title={t('devices.title')}
      actions={
        <span className="flex flex-wrap gap-x-4">
          {spec.disks.some((disk) => disk.device === 'disk' && !disk.shared) && (
            <Link href={paths.storage({ vm: vm.id })}>{t('devices.disks')}</Link>
          )}
          <Link href={paths.vmDevices(vm.id)}>{t('devices.definition')}</Link>
        </span>
      }
    >
      <Facts facts={facts} />
      {chosen?.device === 'cdrom' && <CdDialog vm={vm} drive={chosen} onClose={() => setDrive(null)} />}
    </Section>
  )
}
