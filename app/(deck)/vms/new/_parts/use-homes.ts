'use client'
import { useQuery } from '@tanstack/react-query'
import { useSearchParams } from 'next/navigation'
import { hasPrivilege } from '#lib/auth/privileges.ts'
import { queries } from '#lib/client/queries.ts'
import { useUser } from '#lib/client/session.ts'

/** Where the reader may create VMs: of their own, and in which projects. */
export function useHomes() {
  const user = useUser()
  const asked = useSearchParams().get('project')
  const projects = (useQuery(queries.projectList()).data?.items ?? []).filter(
    ({ archivedAt, privileges }) => archivedAt === null && privileges.includes('vm.create'),
  )
  const custom = useQuery({ ...queries.roleList(), enabled: user?.customRole != null }).data?.custom
  const mayOwn =
    user === undefined ||
    (user.customRole === null
      ? hasPrivilege(user.role, 'vm.create')
      : (custom?.find(({ id }) => id === user.customRole)?.privileges.includes('vm.create') ?? false))
  const named = projects.find(({ id }) => id === asked)
  /** What is chosen until somebody chooses. */
  const first: string = named?.id ?? (mayOwn ? '' : (projects[0]?.id ?? ''))
  return { projects, mayOwn, first }
}
