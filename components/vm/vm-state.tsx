'use client'
import { MARK_OF_STATE, StateMark } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { VmState } from '#lib/schema/vm-state.ts'

/** Shape and word of a VM's state. */
export function VmStateMark({ state }: { readonly state: VmState }) {
  const t = useT(app)
  return <StateMark mark={MARK_OF_STATE[state]} word={t(`state.${state}`)} />
}
