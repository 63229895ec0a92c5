/** Where the guest starts from. Sources: QEMU docs `system/bootindex`, `system/linuxboot`, `system/invocation` (-boot). */
import { option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

/** How long the firmware waits for F12 (BIOS) or Esc (UEFI), milliseconds. */
const MENU_MS = 5000

export function bootOptions({ spec }: CompileInput): PlannedOption[] {
  return [
    option(['-boot', [...(spec.bootMenu ? ['menu=on', `splash-time=${MENU_MS}`] : []), 'strict=on'].join(',')], {
      group: 'machine',
      what: `Boots only from devices that have a boot position, in that order.${spec.bootMenu ? ` The firmware waits ${MENU_MS / 1000} seconds for ${spec.firmware === 'uefi' ? 'Esc' : 'Esc or F12'}, which opens its menu.` : ''}`,
      why: 'So that a disk added for data is never booted by accident.',
      origin: spec.bootMenu ? 'choice' : 'default',
      field: spec.bootMenu ? '/bootMenu' : '/disks',
    }),
  ]
}

/** The firmware starts this kernel before it looks at any device. The values are taken whole, commas and all. */
export function directKernelOptions({ spec }: CompileInput): PlannedOption[] {
  const boot = spec.directKernel
  if (boot === null) return []
  const group = 'kernel'
  return [
    option(['-kernel', boot.kernel], {
      group,
      what: 'Starts this kernel from a file of the host, without any boot loader.',
      why: 'Its version and command line are set from outside the guest.',
      origin: 'choice',
      field: '/directKernel/kernel',
    }),
    ...(boot.initrd === null
      ? []
      : [
          option(['-initrd', boot.initrd], {
            group,
            what: "The kernel's first file system, from a file of the host.",
            why: 'Holds the drivers the kernel needs to find its disk.',
            origin: 'choice',
            field: '/directKernel/initrd',
          }),
        ]),
    ...(boot.commandLine === ''
      ? []
      : [
          option(['-append', boot.commandLine], {
            group,
            what: 'What the kernel is told at its start: consoles, root disk, switches.',
            why: 'Without a boot loader nobody else tells it.',
            origin: 'choice',
            field: '/directKernel/commandLine',
          }),
        ]),
  ]
}
