import { defineMessages } from '../../define.ts'

/** Room on storage: guests that their disks stopped, and where a disk's file lies. */
export const room = defineMessages('room', {
  label: 'Why the guest is paused',
  storage: 'See storage',
  stay: 'Keep it paused',
  waits: 'The room is looked at every few seconds.',
  disk: '{device}: {cause, select, room {no room left in {pool}} limit {a limit for files in {pool}} other {writing to {pool} failed}}, {free} free',
  needsTitle: 'Needs you',
  look: 'Look',
  pool: 'Pool',
  poolOf: 'Pool of {device}',
  poolOption: '{name}: {free} free',
  poolAway: '{name}: cannot be used now',
  poolHint: 'Where its file lies. {usable} can still be given out there, {growth} are promised to disks that grow.',
  poolShort: 'Less than its size is left there: the guest is paused when the pool is full.',
  existing: 'Disk {name} ({size})',
  sizeOfVolume: 'A disk that exists keeps its size; it can be made larger afterwards.',
  growHint: 'Can become larger, never smaller; at once also while the guest runs.',
  growShared: 'A disk that several VMs write to keeps its size.',
  inside: {
    title: 'Then, inside the guest: grow the partition and the file system',
    linux:
      'Linux: growpart /dev/vda 1, then resize2fs /dev/vda1 (ext4) or xfs_growfs / (XFS). With LVM: pvresize, then lvextend -r.',
    windows: 'Windows: Disk Management (diskmgmt.msc), “Rescan disks”, then “Extend volume”.',
    bsd: 'FreeBSD: gpart recover vtbd0, gpart resize -i 1 vtbd0, then growfs /.',
    other: 'Other systems: with their partition editor, the last partition first.',
  },
})
