'use client'
import type { ComponentType } from 'react'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { type RowList, rowsOf } from '../spec-draft.ts'
import { type SpecForm, shownValue } from './form.ts'
import {
  ChannelsPart,
  ClockPart,
  ExpertPart,
  HelpersPart,
  HostDevicesPart,
  KernelPart,
  SharesPart,
  SmbiosPart,
} from './parts/bus-part.tsx'
import { CpuPart } from './parts/cpu-part.tsx'
import { MachinePart, SecurityPart } from './parts/machine-part.tsx'
import { MemoryPart } from './parts/memory-part.tsx'
import { DisplayPart, InputPart, SoundPart } from './parts/screen-part.tsx'

export type PartId =
  | 'machine'
  | 'security'
  | 'cpu'
  | 'memory'
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
    fields: ['tpm', 'iommu', 'pvpanic'],
    Form: SecurityPart,
    summary: (form) =>
      list([
        without(shownValue(form, 'tpm')),
        without(shownValue(form, 'iommu')) && `iommu ${shownValue(form, 'iommu')}`,
        shownValue(form, 'pvpanic') === true && 'pvpanic',
      ]),
  },
  {
    id: 'cpu',
    fields: ['maxCpus', 'cpuModel', 'cpuFlags', 'topology', 'pinning', 'numa', 'hyperv'],
    Form: CpuPart,
    summary: (form) => list([shownValue(form, 'cpuModel'), shownValue(form, 'hyperv') === true && 'Hyper-V']),
  },
  {
    id: 'memory',
    fields: ['memoryMaxMiB', 'virtioMem', 'dimms', 'hugePages', 'balloon', 'balloonTargetMiB', 'freePageReporting'],
    Form: MemoryPart,
    summary: (form) =>
      list([
        shownValue(form, 'balloon') === true && 'virtio-balloon',
        shownValue(form, 'virtioMem') !== null && 'virtio-mem',
        count(form, 'dimms', 'DIMM'),
        without(shownValue(form, 'hugePages')),
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
        shownValue(form, 'vsock') !== null && 'vsock',
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
    summary: (form) => shownValue(form, 'clock') ?? '',
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

const without = (value: string | null): string | null => (value === 'none' ? null : value)
