/**
 * How long a command may take, by class. A command that only reads state answers in a millisecond on an idle host;
 * the limits allow for a starved one, where QEMU's main loop waits for its vCPU threads.
 */
type CommandClass = 'negotiate' | 'query' | 'introspect' | 'power' | 'media' | 'hotplug' | 'other'

/** Milliseconds. */
const TIMEOUT_MS: { readonly [K in CommandClass]: number } = {
  negotiate: 5_000,
  query: 5_000,
  introspect: 15_000,
  power: 10_000,
  media: 30_000,
  hotplug: 15_000,
  other: 10_000,
}

const CLASS: { readonly [command: string]: CommandClass } = {
  qmp_capabilities: 'negotiate',
  'query-qmp-schema': 'introspect',
  'query-cpu-definitions': 'introspect',
  'query-cpu-model-expansion': 'introspect',
  'query-command-line-options': 'introspect',
  'query-machines': 'introspect',
  'qom-list-types': 'introspect',
  'device-list-properties': 'introspect',
  'qom-get': 'query',
  'qom-list': 'query',
  cont: 'power',
  stop: 'power',
  quit: 'power',
  system_powerdown: 'power',
  system_reset: 'power',
  system_wakeup: 'power',
  screendump: 'media',
  eject: 'media',
  'blockdev-add': 'media',
  'blockdev-del': 'media',
  'blockdev-change-medium': 'media',
  'blockdev-open-tray': 'media',
  'blockdev-close-tray': 'media',
  'blockdev-insert-medium': 'media',
  'blockdev-remove-medium': 'media',
  // Each waits until requests under way on its nodes are done.
  'blockdev-backup': 'media',
  'blockdev-mirror': 'media',
  'blockdev-snapshot': 'media',
  'block-commit': 'media',
  'block-stream': 'media',
  block_resize: 'media',
  transaction: 'media',
  device_add: 'hotplug',
  device_del: 'hotplug',
  'object-add': 'hotplug',
  'object-del': 'hotplug',
  netdev_add: 'hotplug',
  netdev_del: 'hotplug',
}

function commandClass(command: string): CommandClass {
  return CLASS[command] ?? (command.startsWith('query-') ? 'query' : 'other')
}

/** Milliseconds. */
export function commandTimeoutMs(command: string): number {
  return TIMEOUT_MS[commandClass(command)]
}
