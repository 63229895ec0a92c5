'use client'
import type { Privilege } from '#lib/auth/privileges.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/**
 * Why somebody may not do something with this very VM, null when they may: a role in its project or of a share counts,
 * whatever their role on the server is.
 */
export function useMayNotVm(vm: Pick<Vm, 'privileges'>, privilege: Privilege): string | null {
  const t = useT(app)
  const anywhere = useCan(privilege)
  const may = vm.privileges === undefined ? anywhere : vm.privileges.includes(privilege)
  return may ? null : t('mayLook')
}
