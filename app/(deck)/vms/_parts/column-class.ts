import type { VmColumn } from '#lib/vm/sort.ts'

/** Width and the narrowest window each column is shown in; name takes the rest. */
export const COLUMN_CLASS: Record<VmColumn, string> = {
  state: 'w-30 max-md:hidden',
  name: '',
  guest: 'w-21 max-xl:hidden',
  accelerator: 'w-15 max-lg:hidden',
  cpu: 'w-28 max-md:hidden',
  memory: 'w-21 max-md:hidden',
  address: 'w-28 max-lg:hidden',
  // Among one's own VMs it is always the same name: the first to give way.
  owner: 'w-20 max-[84rem]:hidden',
  project: 'w-24 max-[84rem]:hidden',
  tags: 'w-28 max-xl:hidden',
  uptime: 'w-20 max-lg:hidden',
}
