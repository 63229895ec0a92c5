import { defineMessages } from '../../define.ts'

/** Who uses what, and what could be given back. */
export const usage = defineMessages('usage', {
  title: 'Usage',
  intro:
    'What people and projects have, of which limit. A VM in a project counts for the project, any other for its owner.',
  introOwn: 'What you and your projects have, of which limit. A VM in a project counts for the project.',
  host: {
    title: 'The host',
    memory: 'Memory',
    memoryText: '{running} for running guests, {reserve} kept for the host, of {total}',
    cpus: 'CPUs',
    cpusText:
      '{running, plural, one {# virtual CPU runs} other {# virtual CPUs run}} of {most} at most, on {total, plural, one {# CPU} other {# CPUs}}',
    disk: 'Disk of the local pool',
    diskText: '{used} used, {reserve} kept as reserve, of {total}',
    running: 'running guests',
    used: 'used',
    reserve: 'kept for the host',
    reserveHint: 'The reserve is never given to guests: a start that would touch it is refused.',
  },
  free: {
    title: 'What would be freed',
    note: 'Largest first.',
    none: 'Nothing to give back: nothing runs, and no disk lies around.',
    by: {
      'shut-down': '{count, plural, one {Shut down # running VM} other {Shut down # running VMs}}',
      'empty-trash': '{count, plural, one {Empty the trash of # disk} other {Empty the trash of # disks}}',
      'delete-free-disks': '{count, plural, one {Delete # disk of no VM} other {Delete # disks of no VM}}',
      'delete-stopped-vms': '{count, plural, one {Delete # VM that is off} other {Delete # VMs that are off}}',
      'delete-snapshots': '{count, plural, one {Delete # snapshot} other {Delete # snapshots}}',
      'delete-backups': '{count, plural, one {Delete # backup} other {Delete # backups}}',
      'delete-images': '{count, plural, one {Delete # image nothing needs} other {Delete # images nothing needs}}',
      'cancel-uploads': '{count, plural, one {Cancel # upload or download} other {Cancel # uploads and downloads}}',
      'close-consoles': '{count, plural, one {Close # console} other {Close # consoles}}',
    },
    memory: '{memory} of memory, {cpus, plural, one {# CPU} other {# CPUs}}',
    bytes: '{size} on disk',
    unknown: 'room for more',
    show: 'Show',
    showOf: 'Show: {what}, {name}',
  },
  idle: {
    title: 'VMs that nobody seems to use',
    none: 'None is idle, and none has been off for a month.',
    running: 'runs and does nothing',
    off: 'off for <time></time>',
    gives: 'gives back {what}',
  },
  table: {
    title: 'Who uses what',
    label: 'Who uses what, as a table',
    name: 'Name',
    onDisk: 'On disk',
    person: 'person',
    project: 'project',
    you: 'you',
    ownLimits: 'own limits',
    ownTip: 'Limits of their own take the place of those of everybody',
    actions: 'Limits',
    empty: 'Nothing to show yet.',
  },
  defaults: {
    title: 'Limits of everybody',
    note: 'For people without limits of their own.',
    none: 'no limit',
  },
})
