/**
 * Watchdogs: a clock that the guest must wind up again and again. QEMU's hw/watchdog/wdt_i6300esb.c, hw/acpi/ich9_tco.c
 * and `-action watchdog=` (docs/system/invocation.rst). The i6300ESB is a PCI card; the TCO watchdog is part of q35's chipset
 * and does nothing until the strap `noreboot` is off.
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { slotPlace } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

const ACTION: Readonly<Record<NonNullable<VmSpec['watchdog']>['action'], string>> = {
  reset: 'the guest is reset',
  shutdown: 'the guest is asked to shut down, as by its power button',
  poweroff: 'the guest is switched off',
  pause: 'the guest is paused, so that it can be looked at',
  'inject-nmi': 'the guest gets a non-maskable interrupt, on which many systems write a crash dump',
  none: 'nothing happens but a note in the activity list',
}

export function watchdogOptions({ spec }: CompileInput): PlannedOption[] {
  if (spec.watchdog === null) return []
  const { model, action } = spec.watchdog
  const group = 'watchdog'
  const field = '/watchdog'
  const why =
    'A guest that hangs is noticed without anybody looking. Does nothing until a program in the guest uses it.'
  return [
    model === 'i6300esb'
      ? jsonOption(
          '-device',
          { driver: 'i6300esb', id: QEMU_IDS.watchdog, ...slotPlace(spec, 'watchdog') },
          {
            group,
            what: 'A watchdog card (Intel 6300ESB).',
            why,
            origin: 'choice',
            field,
          },
        )
      : option(['-global', 'ICH9-LPC.noreboot=off'], {
          group,
          what: 'Lets the watchdog of the mainboard (Intel TCO) act when it runs out.',
          why,
          origin: 'choice',
          field,
        }),
    option(['-action', `watchdog=${action}`], {
      group,
      what: `When the guest stops winding up the watchdog, ${ACTION[action]}.`,
      why: 'What to do with a guest that hangs was chosen in its definition.',
      origin: 'choice',
      field: '/watchdog/action',
    }),
  ]
}
