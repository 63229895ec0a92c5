import { defineMessages } from '../../define.ts'

/** What is counted, and how much of it somebody may have. */
export const quotas = defineMessages('quotas', {
  item: {
    vms: 'VMs',
    vcpus: 'CPUs, defined',
    runningVcpus: 'CPUs, running',
    memoryMiB: 'Memory, defined',
    runningMemoryMiB: 'Memory, running',
    diskGiB: 'Disks',
    snapshots: 'Snapshots',
    uploads: 'Uploads and downloads',
    libraryMiB: 'Image library',
    backupGiB: 'Backups',
    ports: 'Forwarded ports',
    consoles: 'Open consoles',
  },
  ofLimit: '{used} of {limit}',
  noLimit: '{used}, no limit',
  bar: '{item}: {used} of {limit}',
  usedPart: 'used',
  newPart: 'this VM',
  edit: {
    action: 'Edit limits',
    actionOf: 'Edit limits: {name}',
    title: 'Limits of {name}',
    titleDefault: 'Limits of everybody',
    intro: 'An empty field means no limit. What is in use stays, also above a new limit.',
    introDefault: 'They count for each person who has none of their own. Projects have their own only.',
    ofEverybody: 'Those of everybody count for {name} now; saved here, their own take their place.',
    clear: 'Use those of everybody',
    bad: 'A whole number, 0 or more',
    saved: 'The limits of {name} are set',
    savedDefault: 'The limits of everybody are set',
    mayNot: 'An administrator sets the limits.',
  },
})
