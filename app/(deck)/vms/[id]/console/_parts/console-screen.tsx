'use client'
import { ConsoleView } from '#components/console/console-view.tsx'
import { useVm } from '#components/vm/vm-context.tsx'

/** The console tab of a VM. */
export function ConsoleScreen() {
  return <ConsoleView vm={useVm()} />
}
