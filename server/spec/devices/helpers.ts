/** Devices that help guest and host to work together: random numbers, memory balloon. */
import { slotPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export function rngOptions({ spec }: CompileInput): PlannedOption[] {
  if (!spec.rng) return []
  const group = 'rng'
  const field = '/rng'
  return [
    jsonOption(
      '-object',
      { 'qom-type': 'rng-random', id: QEMU_IDS.rngSource, filename: '/dev/urandom' },
      {
        group,
        what: "Takes random bytes from the host's kernel.",
        why: 'Never runs dry and never blocks.',
        origin: 'plumbing',
        field,
      },
    ),
    jsonOption(
      '-device',
      {
        driver: virtioDriver(spec, 'virtio-rng'),
        id: QEMU_IDS.rng,
        ...slotPlace(spec, 'rng'),
        rng: QEMU_IDS.rngSource,
      },
      {
        group,
        what: 'Gives the guest a source of real random numbers.',
        why: 'A fresh virtual machine has little randomness of its own: keys would be weak, or booting would wait.',
        origin: 'default',
        field,
      },
    ),
  ]
}

export function balloonOptions({ spec }: CompileInput): PlannedOption[] {
  if (!spec.balloon) return []
  return [
    jsonOption(
      '-device',
      {
        driver: virtioDriver(spec, 'virtio-balloon'),
        id: QEMU_IDS.balloon,
        ...slotPlace(spec, 'balloon'),
        'deflate-on-oom': true,
        'free-page-reporting': spec.freePageReporting,
      },
      {
        group: 'balloon',
        what: 'Tells the host which memory the guest does not use, and how much it has left.',
        why: spec.freePageReporting
          ? 'Freed memory goes back to the host, and the memory figures shown here come from it. Given up before the guest would run out.'
          : 'The memory figures shown here come from it, and memory can be asked back. Given up before the guest would run out.',
        origin: 'default',
        field: '/balloon',
      },
    ),
  ]
}
