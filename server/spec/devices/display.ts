/**
 * Graphics cards and the VNC server behind the console page.
 *
 * Cards and their properties: QEMU's hw/display (virtio-gpu-base.c, vga-pci.c, qxl.c, bochs-display.c, ramfb-standalone.c)
 * and docs/system/devices/virtio-gpu.rst. Which to take: Gerd Hoffmann, "VGA and other display devices in qemu".
 */
import type { Display, VmSpec } from '#lib/schema/vm-spec.ts'
import { slotPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { escapeCommas, type Json, jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

const MIB = 2 ** 20

interface Card {
  driver(spec: VmSpec): string
  readonly what: string
  readonly why: string
  /** Whether it tells the guest a resolution (EDID or its like), has several heads, and takes a size of memory. */
  readonly resolution: boolean
  readonly heads: boolean
  memory(mebibytes: number): Readonly<Record<string, Json>>
  /** False for devices outside PCI. */
  readonly onBus: boolean
}

const virtioMemory = (mebibytes: number) => ({ max_hostmem: mebibytes * MIB })

const CARDS: Readonly<Record<Exclude<Display, 'none'>, Card>> = {
  'virtio-vga': {
    driver: () => 'virtio-vga',
    what: 'A virtio graphics card that is also a plain VGA card until the guest loads its driver.',
    why: 'Works in every boot loader, and modern guests can follow the size of the window.',
    resolution: true,
    heads: true,
    memory: virtioMemory,
    onBus: true,
  },
  'virtio-gpu': {
    driver: (spec) => virtioDriver(spec, 'virtio-gpu'),
    what: 'A virtio graphics card without the VGA part.',
    why: 'Least to attack and least to emulate. Dark until the guest loads its driver, but UEFI firmware has one.',
    resolution: true,
    heads: true,
    memory: virtioMemory,
    onBus: true,
  },
  std: {
    driver: () => 'VGA',
    what: "QEMU's standard VGA card.",
    why: 'Every system has a driver for it.',
    resolution: true,
    heads: false,
    memory: (mebibytes) => ({ vgamem_mb: mebibytes }),
    onBus: true,
  },
  qxl: {
    driver: () => 'qxl-vga',
    what: 'A QXL graphics card, made for SPICE, that is also a plain VGA card.',
    why: 'For guests that already have its driver. Over VNC it is no faster than the standard card.',
    resolution: true,
    heads: true,
    // What virt-manager asks for: memory of commands and of pictures four times that of the screen.
    memory: (mebibytes) => ({
      ram_size_mb: mebibytes * 4,
      vram_size_mb: mebibytes * 4,
      vgamem_mb: mebibytes,
    }),
    onBus: true,
  },
  ramfb: {
    driver: () => 'ramfb',
    what: 'A frame buffer in the guest’s own memory, which the firmware sets up.',
    why: 'No graphics card at all: a picture from UEFI on, as when a real card is handed over and not yet running.',
    resolution: false,
    heads: false,
    memory: () => ({}),
    onBus: false,
  },
  bochs: {
    driver: () => 'bochs-display',
    what: 'A plain frame buffer card without the VGA part.',
    why: 'Far less code than the standard VGA card. Needs UEFI, or a system with the bochs driver.',
    resolution: true,
    heads: false,
    memory: (mebibytes) => ({ vgamem: mebibytes * MIB }),
    onBus: true,
  },
}

/** What the chosen card can be told. */
export const cardTraits = (display: Exclude<Display, 'none'>) => {
  const { resolution, heads, onBus } = CARDS[display]
  return { resolution, heads, memory: display !== 'ramfb', onBus }
}

/** QEMU's driver of the screen; null without one. */
export const displayDriver = (spec: VmSpec): string | null =>
  spec.display === 'none' ? null : CARDS[spec.display].driver(spec)

/** Properties only where something was chosen, so that a card without wishes stays as it always was. */
function cardProperties(spec: VmSpec, card: Card): Readonly<Record<string, Json>> {
  return {
    // qxl starts with as many as the guest asks for; one is what a browser can show.
    ...(card.heads && (spec.displayHeads > 1 || spec.display === 'qxl') ? { max_outputs: spec.displayHeads } : {}),
    ...(card.resolution && spec.displayResolution !== null
      ? { xres: spec.displayResolution.width, yres: spec.displayResolution.height }
      : {}),
    ...(spec.displayMemoryMiB === null ? {} : card.memory(spec.displayMemoryMiB)),
  }
}

function wishes(spec: VmSpec): string {
  const size = spec.displayResolution
  return [
    spec.displayHeads > 1 ? ` It has ${spec.displayHeads} outputs; the browser shows the first.` : '',
    size === null ? '' : ` Its monitor asks for ${size.width} × ${size.height}.`,
    spec.displayMemoryMiB === null ? '' : ` ${spec.displayMemoryMiB} MiB of memory for pictures.`,
  ].join('')
}

export function displayOptions({ spec, paths }: CompileInput): PlannedOption[] {
  const group = 'display'
  const field = '/display'
  const noWindow = option(['-display', 'none'], {
    group,
    what: 'Opens no window on the host.',
    why: 'The screen is shown in the browser.',
    origin: 'plumbing',
  })
  if (spec.display === 'none') return [noWindow]
  const card = CARDS[spec.display]
  return [
    jsonOption(
      '-device',
      {
        driver: card.driver(spec),
        id: QEMU_IDS.video,
        ...(card.onBus ? slotPlace(spec, 'video') : {}),
        ...cardProperties(spec, card),
      },
      { group, what: `${card.what}${wishes(spec)}`, why: card.why, origin: 'default', field },
    ),
    noWindow,
    option(['-vnc', `unix:${escapeCommas(paths.vnc)},id=${QEMU_IDS.vnc},display=${QEMU_IDS.video},share=ignore`], {
      group,
      what: 'Offers the screen over VNC on a socket that only the dashboard can open; viewers share it.',
      why: 'Viewers come through the dashboard, which checks who they are. No network port is opened, and no viewer can cut off another.',
      origin: 'security',
      field,
    }),
  ]
}
