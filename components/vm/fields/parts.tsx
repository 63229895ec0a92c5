'use client'
import dynamic from 'next/dynamic'
import type { ComponentType } from 'react'
import { Skeleton } from '#components/ui/feedback.tsx'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { type RowList, rowsOf } from '../spec-draft.ts'
import { type SpecForm, shownValue } from './form.ts'

// Loaded when a part is first opened: most are not.
const Loading = () => <Skeleton className="h-24" />
const bus = () => import('./parts/bus-part.tsx')
const screen = () => import('./parts/screen-part.tsx')
const machine = () => import('./parts/machine-part.tsx')
const memory = () => import('./parts/memory-part.tsx')
const ChannelsPart = dynamic(() => bus().then((part) => part.ChannelsPart), { ssr: false, loading: Loading })
const ClockPart = dynamic(() => bus().then((part) => part.ClockPart), { ssr: false, loading: Loading })
const ExpertPart = dynamic(() => bus().then((part) => part.ExpertPart), { ssr: false, loading: Loading })
const HelpersPart = dynamic(() => bus().then((part) => part.HelpersPart), { ssr: false, loading: Loading })
const HostDevicesPart = dynamic(() => bus().then((part) => part.HostDevicesPart), { ssr: false, loading: Loading })
const KernelPart = dynamic(() => bus().then((part) => part.KernelPart), { ssr: false, loading: Loading })
const SharesPart = dynamic(() => bus().then((part) => part.SharesPart), { ssr: false, loading: Loading })
const SmbiosPart = dynamic(() => bus().then((part) => part.SmbiosPart), { ssr: false, loading: Loading })
const CpuPart = dynamic(() => import('./parts/cpu-part.tsx').then((part) => part.CpuPart), {
  ssr: false,
  loading: Loading,
})
const MachinePart = dynamic(() => machine().then((part) => part.MachinePart), { ssr: false, loading: Loading })
const SecurityPart = dynamic(() => machine().then((part) => part.SecurityPart), { ssr: false, loading: Loading })
const GrowingPart = dynamic(() => memory().then((part) => part.GrowingPart), { ssr: false, loading: Loading })
const SharePart = dynamic(() => import('./parts/share-part.tsx').then((part) => part.SharePart), {
  ssr: false,
  loading: Loading,
})
const MemoryPart = dynamic(() => memory().then((part) => part.MemoryPart), { ssr: false, loading: Loading })
const DisplayPart = dynamic(() => screen().then((part) => part.DisplayPart), { ssr: false, loading: Loading })
const InputPart = dynamic(() => screen().then((part) => part.InputPart), { ssr: false, loading: Loading })
const SoundPart = dynamic(() => screen().then((part) => part.SoundPart), { ssr: false, loading: Loading })

export type PartId =
  | 'machine'
  | 'security'
  | 'cpu'
  | 'hotplug'
  | 'memory'
  | 'share'
  | 'display'
  | 'input'
  | 'sound'
  | 'channels'
  | 'helpers'
  | 'shares'
  | 'hostDevices'
  | 'clock'
  | 'smbios'
  | 'kernel'
  | 'expert'

export interface Part {
  readonly id: PartId
  /** Fields of the definition it edits. */
  readonly fields: readonly (keyof VmSpec)[]
  readonly Form: ComponentType<{ readonly form: SpecForm }>
  /** What it is set to, in QEMU's own names; empty when nothing is. */
  readonly summary: (form: SpecForm) => string
}

const list = (parts: readonly (string | false | null | undefined)[]) => parts.filter(Boolean).join(', ')
const count = (form: SpecForm, rows: RowList, word: string) => {
  const { length } = rowsOf(form.draft, rows)
  return length > 0 && `${length} × ${word}`
}

/** Everything but drives, network cards and the usual amounts of CPU and memory, in the order of the pages. */
export const PARTS: readonly Part[] = [
  {
    id: 'machine',
    fields: ['machine', 'firmware', 'secureBoot', 'bootMenu', 'spareRootPorts'],
    Form: MachinePart,
    summary: (form) =>
      list([
        shownValue(form, 'machine'),
        shownValue(form, 'firmware')?.toUpperCase(),
        shownValue(form, 'secureBoot') === true && 'Secure Boot',
      ]),
  },
  {
    id: 'security',
    fields: ['tpm', 'iommu', 'pvpanic', 'generationId'],
    Form: SecurityPart,
    summary: (form) =>
      list([
        without(shownValue(form, 'tpm')),
        without(shownValue(form, 'iommu')) && `iommu ${shownValue(form, 'iommu')}`,
        shownValue(form, 'pvpanic') === true && 'pvpanic',
        shownValue(form, 'generationId') === true && 'vmgenid',
      ]),
  },
  {
    id: 'cpu',
    fields: ['maxCpus', 'cpuModel', 'cpuFlags', 'topology', 'pinning', 'numa', 'hyperv'],
    Form: CpuPart,
    summary: (form) =>
      list([
        shownValue(form, 'cpuModel'),
        shownValue(form, 'maxCpus') !== shownValue(form, 'cpus') && `≤ ${shownValue(form, 'maxCpus')} CPUs`,
        ...(shownValue(form, 'cpuFlags') ?? []).map((flag) => `${flag.enabled ? '+' : '-'}${flag.name}`),
        shownValue(form, 'hyperv') === true && 'Hyper-V',
      ]),
  },
  {
    id: 'hotplug',
    fields: ['memoryMaxMiB', 'virtioMem', 'dimms'],
    Form: GrowingPart,
    summary: (form) =>
      list([
        isSet(shownValue(form, 'memoryMaxMiB')) && `≤ ${shownValue(form, 'memoryMaxMiB')} MiB`,
        isSet(shownValue(form, 'virtioMem')) && 'virtio-mem',
        count(form, 'dimms', 'DIMM'),
      ]),
  },
  {
    id: 'memory',
    fields: ['hugePages', 'balloon', 'balloonTargetMiB', 'freePageReporting'],
    Form: MemoryPart,
    summary: (form) =>
      list([
        shownValue(form, 'balloon') === true && 'virtio-balloon',
        isSet(without(shownValue(form, 'hugePages'))) && `hugetlb ${shownValue(form, 'hugePages')}`,
      ]),
  },
  {
    id: 'share',
    fields: ['cpuWeight', 'cpuLimit', 'ioWeight', 'memoryCap'],
    Form: SharePart,
    summary: (form) =>
      list([
        shownValue(form, 'cpuWeight') !== 100 && `cpu.weight ${shownValue(form, 'cpuWeight')}`,
        isSet(shownValue(form, 'cpuLimit')) && `≤ ${shownValue(form, 'cpuLimit')} CPU`,
        shownValue(form, 'ioWeight') !== 100 && `io.weight ${shownValue(form, 'ioWeight')}`,
      ]),
  },
  {
    id: 'display',
    fields: ['display', 'displayHeads', 'displayResolution', 'displayMemoryMiB'],
    Form: DisplayPart,
    summary: (form) => shownValue(form, 'display') ?? '',
  },
  {
    id: 'input',
    fields: ['usbInput', 'inputs', 'ps2', 'usbController', 'usbPorts'],
    Form: InputPart,
    summary: (form) =>
      list([
        without(shownValue(form, 'usbController')),
        shownValue(form, 'usbInput') === true && 'usb-tablet, usb-kbd',
        count(form, 'inputs', 'input'),
      ]),
  },
  {
    id: 'sound',
    fields: ['sound', 'clipboard'],
    Form: SoundPart,
    summary: (form) => list([without(shownValue(form, 'sound')), shownValue(form, 'clipboard') === true && 'vdagent']),
  },
  {
    id: 'channels',
    fields: ['serial', 'serialDevice', 'channels', 'vsock'],
    Form: ChannelsPart,
    summary: (form) =>
      list([
        shownValue(form, 'serial') === true && shownValue(form, 'serialDevice'),
        count(form, 'channels', 'channel'),
        isSet(shownValue(form, 'vsock')) && 'vsock',
      ]),
  },
  {
    id: 'helpers',
    fields: ['agentChannel', 'rng', 'watchdog'],
    Form: HelpersPart,
    summary: (form) =>
      list([
        shownValue(form, 'agentChannel') === true && 'qemu-guest-agent',
        shownValue(form, 'rng') === true && 'virtio-rng',
        shownValue(form, 'watchdog')?.model,
      ]),
  },
  { id: 'shares', fields: ['shares'], Form: SharesPart, summary: (form) => list([count(form, 'shares', 'share')]) },
  {
    id: 'hostDevices',
    fields: ['hostDevices'],
    Form: HostDevicesPart,
    summary: (form) => list([count(form, 'hostDevices', 'device')]),
  },
  {
    id: 'clock',
    fields: ['clock', 'clockOffsetSeconds'],
    Form: ClockPart,
    summary: (form) => {
      const offset = shownValue(form, 'clockOffsetSeconds') ?? 0
      return list([CLOCK[shownValue(form, 'clock') ?? 'utc'], offset !== 0 && `${offset > 0 ? '+' : ''}${offset} s`])
    },
  },
  {
    id: 'smbios',
    fields: ['smbios'],
    Form: SmbiosPart,
    summary: (form) => shownValue(form, 'smbios')?.product ?? '',
  },
  {
    id: 'kernel',
    fields: ['directKernel'],
    Form: KernelPart,
    summary: (form) => shownValue(form, 'directKernel')?.kernel ?? '',
  },
  {
    id: 'expert',
    fields: ['properties', 'rawArgs'],
    Form: ExpertPart,
    summary: (form) => (shownValue(form, 'rawArgs') ?? []).join(' ').slice(0, 60),
  },
]

const CLOCK = { utc: 'UTC', localtime: 'localtime' } as const
const isSet = (value: unknown): boolean => value !== null && value !== undefined
const without = (value: string | null): string | null => (value === 'none' ? null : value)
