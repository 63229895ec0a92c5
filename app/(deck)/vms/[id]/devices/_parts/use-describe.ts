'use client'
import { useQuery } from '@tanstack/react-query'
import { useCallback } from 'react'
import { useWords } from '#components/vm/fields/use-words.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import type { FamilyId } from '#lib/devices/catalogue.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { DeviceOf } from '#lib/vm/live-types.ts'
import type { DeviceEntry, Entry, PartId } from './entries.ts'

export interface Description {
  readonly name: string
  /** What it is, most telling first. */
  readonly what: readonly string[]
  /** Where it sits; null where that says nothing. */
  readonly place: string | null
}

/** An entry in words, from the catalogue of devices and the library. */
export function useDescribe(): (spec: VmSpec, entry: Entry) => Description {
  const t = useT(devicesPage)
  const locale = useLocale()
  const words = useWords()
  const images = useQuery(queries.imageList()).data?.items
  return useCallback(
    (spec, entry) => {
      const choice = (family: FamilyId, value: string) => words(family).choices?.[value]?.name ?? value
      const isOn = (family: FamilyId, on: boolean) => (on ? [words(family).name] : [])
      const imageName = (id: string) => images?.find((image) => image.id === id)?.name ?? t('what.missingImage')
      const part = (id: PartId): string[] => {
        switch (id) {
          case 'machine':
            return [
              spec.machine,
              choice('firmware', spec.firmware),
              ...isOn('secureBoot', spec.secureBoot),
              ...(spec.accelerator === 'auto' ? [] : [spec.accelerator.toUpperCase()]),
            ]
          case 'cpu':
            return [
              t('what.cpu', {
                cpus: spec.cpus,
                max: spec.maxCpus === spec.cpus ? 'same' : String(spec.maxCpus),
                model: spec.cpuModel === 'auto' ? t('what.cpuAuto') : spec.cpuModel,
              }),
              ...isOn('hyperv', spec.hyperv),
            ]
          case 'memory':
            return [
              spec.memoryMaxMiB === null
                ? formatMiB(spec.memoryMiB, locale)
                : t('what.memoryMax', {
                    memory: formatMiB(spec.memoryMiB, locale),
                    max: formatMiB(spec.memoryMaxMiB, locale),
                  }),
              ...isOn('balloon', spec.balloon),
              ...isOn('virtioMem', spec.virtioMem !== null),
              ...(spec.hugePages === 'none' ? [] : [choice('hugePages', spec.hugePages)]),
            ]
          case 'share':
            return [
              spec.cpuWeight === 100 ? t('what.shareUsual') : t('what.shareWeight', { weight: String(spec.cpuWeight) }),
              ...(spec.cpuLimit === null ? [] : [t('what.shareLimit', { cpus: String(spec.cpuLimit) })]),
            ]
          case 'security':
            return [
              ...(spec.tpm === 'none' ? [] : [choice('tpm', spec.tpm)]),
              ...(spec.iommu === 'none' ? [] : [choice('iommu', spec.iommu)]),
              ...isOn('pvpanic', spec.pvpanic),
              ...isOn('generationId', spec.generationId),
            ]
          case 'clock':
            return [choice('clock', spec.clock)]
          case 'smbios':
            return spec.smbios === null ? [] : [spec.smbios.product ?? t('what.custom')]
          case 'kernel':
            return spec.directKernel === null ? [] : [spec.directKernel.kernel]
          case 'display':
            return [choice('display', spec.display)]
          case 'input':
            return [
              ...isOn('usbInput', spec.usbInput),
              ...isOn('ps2', spec.ps2),
              ...(spec.usbController === 'none' ? [] : [choice('usbController', spec.usbController)]),
            ]
          case 'sound':
            return [
              ...(spec.sound === 'none' ? [] : [choice('sound', spec.sound)]),
              ...isOn('clipboard', spec.clipboard),
            ]
          case 'channels':
            return [
              ...(spec.serial ? [choice('serialDevice', spec.serialDevice)] : [t('what.noSerial')]),
              ...isOn('vsock', spec.vsock !== null),
            ]
          case 'helpers':
            return [
              ...isOn('agentChannel', spec.agentChannel),
              ...isOn('rng', spec.rng),
              ...(spec.watchdog === null ? [] : [choice('watchdog', spec.watchdog.model)]),
            ]
          case 'expert':
            return spec.rawArgs.length === 0 ? [] : [t('what.raw', { count: spec.rawArgs.length })]
        }
      }
      const device = (entry: DeviceEntry): { what: string[]; place: string | null } => {
        switch (entry.list) {
          case 'disks': {
            const drive = entry.device as DeviceOf<'disks'>
            const bus = choice(drive.device === 'disk' ? 'diskBus' : 'cdBus', drive.bus)
            const place = drivePlace(drive)
            if (drive.device === 'cdrom')
              return {
                what: [
                  choice('drive', 'cdrom'),
                  bus,
                  drive.seed !== null
                    ? t('what.seed')
                    : drive.image === null
                      ? t('what.empty')
                      : t('what.holds', { name: imageName(drive.image) }),
                ],
                place,
              }
            return {
              what: [
                choice('drive', 'disk'),
                bus,
                t('what.diskSize', { size: String(drive.sizeGiB) }),
                drive.image === null ? t('what.blank') : t('what.fromImage', { name: imageName(drive.image) }),
              ],
              place,
            }
          }
          case 'networks': {
            const card = entry.device as DeviceOf<'networks'>
            return {
              what: [
                choice('cardModel', card.model),
                card.network === 'bridge' && card.bridge !== null
                  ? t('what.onBridge', { name: card.bridge })
                  : choice('network', card.network),
                card.mac,
                ...(card.link ? [] : [t('what.unplugged')]),
                ...(card.forwards.length > 0 ? [t('what.forwards', { count: card.forwards.length })] : []),
              ],
              place: card.model === 'usb-net' ? usb(card.port) : socket(card.rootPort),
            }
          }
          case 'dimms': {
            const module = entry.device as DeviceOf<'dimms'>
            return { what: [t('what.module', { size: formatMiB(module.sizeMiB, locale) })], place: null }
          }
          case 'inputs': {
            const input = entry.device as DeviceOf<'inputs'>
            return {
              what: [choice('inputType', input.type), choice('inputBus', input.bus)],
              place: input.bus === 'usb' ? usb(input.port) : socket(input.rootPort),
            }
          }
          case 'channels': {
            const channel = entry.device as DeviceOf<'channels'>
            return {
              what: [
                choice('channelDevice', channel.device),
                ...(channel.name === null ? [] : [channel.name]),
                choice('channelBackend', channel.backend),
              ],
              place: t(channel.device === 'isa-serial' ? 'place.com' : 'place.virtioSerial', {
                port: String(channel.port + (channel.device === 'isa-serial' ? 1 : 0)),
              }),
            }
          }
          case 'shares': {
            const share = entry.device as DeviceOf<'shares'>
            return {
              what: [
                choice('shareDriver', share.driver),
                t('what.share', { source: share.source, tag: share.tag }),
                ...(share.readOnly ? [t('what.readOnly')] : []),
              ],
              place: socket(share.rootPort),
            }
          }
          case 'hostDevices': {
            const host = entry.device as DeviceOf<'hostDevices'>
            const of =
              host.type === 'usb-id'
                ? `${host.vendor}:${host.product}`
                : host.type === 'usb-port'
                  ? `${host.hostBus}-${host.hostPort}`
                  : host.type === 'pci'
                    ? host.address
                    : host.uuid
            return {
              what: [choice('hostDevice', host.type), of],
              place: 'rootPort' in host ? socket(host.rootPort) : usb(host.port),
            }
          }
        }
      }
      const usb = (port: number | null) => (port === null ? null : t('place.usb', { port: String(port) }))
      const socket = (port: number | null) =>
        port === null || spec.machine === 'microvm'
          ? null
          : t(spec.machine.startsWith('pc-i440fx-') ? 'place.pci' : 'place.pcie', { port: String(port) })
      const drivePlace = (drive: DeviceOf<'disks'>) => {
        if (drive.device === 'disk' && drive.rootPort !== null) return socket(drive.rootPort)
        if (drive.port === null) return null
        const port = { port: String(drive.port) }
        if (drive.bus === 'sata') return t('place.sata', port)
        if (drive.bus === 'ide') return t('place.ide', port)
        return drive.bus === 'usb' ? usb(drive.port) : t('place.scsi', port)
      }
      if (entry.kind === 'part') {
        const what = part(entry.part)
        return { name: t(`part.${entry.part}`), what: what.length === 0 ? [t('what.nothing')] : what, place: null }
      }
      return { name: entry.id, ...device(entry) }
    },
    [t, locale, words, images],
  )
}
