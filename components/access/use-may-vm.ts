'use client'
import { useQuery } from '@tanstack/react-query'
import type { Privilege } from '#lib/auth/privileges.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
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

/** The same for a VM of which only the id is at hand; null asks about the role on the server alone. */
export function useMayOnVm(vmId: string | null, privilege: Privilege): boolean {
  const anywhere = useCan(privilege)
  const vm = useQuery({ ...queries.vmList(), enabled: vmId !== null }).data?.items.find(({ id }) => id === vmId)
  return vm?.privileges?.includes(privilege) ?? anywhere
}
