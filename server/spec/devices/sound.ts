/**
 * Sound cards. QEMU's hw/audio (intel-hda.c, hda-codec.c, ac97.c, virtio-snd.c since 8.2) and docs/system/devices/virtio/virtio-snd.rst.
 * The backend is `none`: it keeps the card's clock going and throws the samples away.
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { slotPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

/** Device types of the chosen card; empty without one. */
export function soundDrivers(spec: Pick<VmSpec, 'sound' | 'machine'>): string[] {
  switch (spec.sound) {
    case 'none':
      return []
    case 'hda':
      return ['ich9-intel-hda', 'hda-duplex']
    case 'ac97':
      return ['AC97']
    case 'virtio-sound':
      return [virtioDriver(spec, 'virtio-sound')]
  }
}

const ABOUT = {
  hda: {
    what: 'An Intel HD Audio controller (ICH9).',
    why: 'Every system of the last fifteen years has a driver for it.',
  },
  ac97: { what: 'An Intel AC97 sound card.', why: 'For systems older than HD Audio, such as Windows XP.' },
  'virtio-sound': {
    what: 'A virtio sound card.',
    why: 'The cheapest to emulate. The guest needs the virtio-snd driver: Linux 5.13 and newer have it.',
  },
} as const

export function soundOptions({ spec }: CompileInput): PlannedOption[] {
  if (spec.sound === 'none') return []
  const group = 'sound'
  const field = '/sound'
  const audiodev = QEMU_IDS.audio
  const [driver = '', codec] = soundDrivers(spec)
  return [
    option(['-audiodev', `none,id=${audiodev}`], {
      group,
      what: 'Where the sound goes: nowhere. It is played in time and thrown away.',
      why: 'The browser does not play the guest’s sound yet. The card is there so that programs which need one run.',
      origin: 'plumbing',
      field,
    }),
    jsonOption(
      '-device',
      {
        driver,
        id: QEMU_IDS.sound,
        ...slotPlace(spec, 'sound'),
        ...(codec === undefined ? { audiodev } : {}),
      },
      { group, ...ABOUT[spec.sound], origin: 'choice', field },
    ),
    ...(codec === undefined
      ? []
      : [
          jsonOption(
            '-device',
            { driver: codec, id: QEMU_IDS.soundCodec, bus: `${QEMU_IDS.sound}.0`, cad: 0, audiodev },
            {
              group,
              what: 'The codec on it, with a speaker and a microphone.',
              why: 'An HD Audio controller makes no sound of its own.',
              origin: 'choice',
              field,
            },
          ),
        ]),
  ]
}
