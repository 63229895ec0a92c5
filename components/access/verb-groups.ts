/** Privileges in the order and the groups in which people choose them. Pure. */
import type { Privilege } from '#lib/auth/privileges.ts'

/** Not in a role of one's own: who has these is administrator in all but name. */
export const FOR_ADMINISTRATORS = ['user.manage', 'quota.manage'] as const satisfies readonly Privilege[]
export type ChoosableVerb = Exclude<Privilege, (typeof FOR_ADMINISTRATORS)[number]>

export const VERB_GROUPS = [
  { id: 'vms', verbs: ['vm.view', 'vm.create', 'vm.change', 'vm.power', 'vm.delete', 'vm.host'] },
  {
    id: 'consoles',
    verbs: ['vm.console.view', 'vm.console.control', 'vm.console.manage', 'vm.console.share', 'vm.console.record'],
  },
  { id: 'copies', verbs: ['vm.snapshot', 'vm.backup', 'backup.restore'] },
  { id: 'images', verbs: ['image.view', 'image.add', 'image.delete', 'image.common', 'image.register'] },
  { id: 'storage', verbs: ['volume.view', 'volume.change', 'pool.view', 'pool.manage'] },
  {
    id: 'sharing',
    verbs: ['share.manage', 'project.view', 'project.create', 'project.manage', 'network.view', 'network.manage'],
  },
  { id: 'lab', verbs: ['vm.lease', 'device.book', 'lab.manage'] },
  { id: 'server', verbs: ['usage.view', 'host.view', 'recording.manage', 'activity.view.all'] },
] as const satisfies readonly { readonly id: string; readonly verbs: readonly ChoosableVerb[] }[]
