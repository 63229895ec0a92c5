/** Facts about one QEMU that code branches on, each from what it says of itself and never from its version. Pure. */
import type { SchemaIndex } from './schema-index.ts'
import type { QemuCapabilities, QemuFeatures } from './types.ts'

export interface FeatureSources {
  readonly schema: SchemaIndex
  /** Names of `query-command-line-options`. */
  readonly options: ReadonlySet<string>
  readonly types: ReadonlySet<string>
  readonly objectTypes: ReadonlySet<string>
  readonly deviceProperties: QemuCapabilities['deviceProperties']
}

export function readFeatures({ schema, options, types, objectTypes, deviceProperties }: FeatureSources): QemuFeatures {
  const hasProperty = (device: string, name: string) =>
    deviceProperties[device]?.some((property) => property.name === name) ?? false
  const socket = (name: string) => schema.hasArgument('chardev-add', 'backend', '=socket', 'data', name)
  return {
    runWith: options.has('run-with'),
    jobDismiss: schema.hasCommand('job-dismiss'),
    queryAccelerators: schema.hasCommand('query-accelerators'),
    netdevStream: schema.hasArgument('netdev_add', '=stream'),
    chardevReconnect: socket('reconnect'),
    chardevReconnectMs: socket('reconnect-ms'),
    netdevReconnect: schema.hasArgument('netdev_add', '=stream', 'reconnect'),
    netdevReconnectMs: schema.hasArgument('netdev_add', '=stream', 'reconnect-ms'),
    netdevPasst: schema.hasArgument('netdev_add', '=passt'),
    screendumpPng: schema.argumentValues('screendump', 'format').includes('png'),
    displayReload: schema.hasCommand('display-reload'),
    vdagent: types.has('chardev-qemu-vdagent'),
    // In the same module as the option -spice, which is not listed until the module is loaded.
    spice: types.has('chardev-spicevmc'),
    throttleFilter: schema.hasArgument('blockdev-add', '=throttle'),
    ioUring: schema.argumentValues('blockdev-add', '=file', 'aio').includes('io_uring'),
    snapshotSave: schema.hasCommand('snapshot-save'),
    blockLatencyHistogram: schema.hasCommand('block-latency-histogram-set'),
    unplugGuestError: schema.names('event').includes('DEVICE_UNPLUG_GUEST_ERROR'),
    iothreadVqMapping: hasProperty('virtio-blk-pci', 'iothread-vq-mapping'),
    cpuUnplugUnderTcgIsSafe: isCpuUnplugUnderTcgSafe(schema),
    tpmEmulator: schema.hasCommand('query-tpm-types') && options.has('tpmdev'),
    memoryMemfd: objectTypes.has('memory-backend-memfd'),
    threadContext: objectTypes.has('thread-context'),
    iommufd: objectTypes.has('iommufd'),
  }
}

/**
 * QEMU 7.2 frees the translation state of a vCPU that was taken away while something still uses it: the next change of
 * memory ends in SIGSEGV or "double free". Nothing QEMU says about itself tells of the mend, so a command stands for it
 * that came with the oldest version the mend was seen in: `blockdev-set-active`, of 10.0. Versions between that may be
 * sound as well are not trusted; there the change waits for a power cycle, which harms nobody.
 */
function isCpuUnplugUnderTcgSafe(schema: SchemaIndex): boolean {
  return schema.hasCommand('blockdev-set-active')
}

export function readBackends(
  schema: SchemaIndex,
  answers: {
    readonly types: readonly string[]
    readonly audiodevs: readonly string[]
    readonly tpms: readonly string[]
  },
): QemuCapabilities['backends'] {
  const sorted = (names: readonly string[]) => [...new Set(names)].sort()
  return {
    netdev: sorted(schema.argumentValues('netdev_add', 'type')),
    // The schema names every backend of the source; a type is there only when it was built and its module is installed.
    chardev: sorted(answers.types.filter((type) => type.startsWith('chardev-')).map((type) => type.slice(8))),
    blockdev: sorted(schema.argumentValues('blockdev-add', 'driver')),
    audiodev: sorted(answers.audiodevs),
    display: sorted(schema.returnValues('query-display-options', 'type').filter((type) => type !== 'default')),
    tpm: sorted(answers.tpms),
  }
}

/**
 * Names listed by `-audiodev help`: one a line after a heading, up to an empty line.
 * What QEMU says about modules that are not installed stands between them, with spaces in it.
 */
export function readHelpList(text: string): string[] {
  const [, ...rest] = text.split('\n')
  const names: string[] = []
  for (const line of rest) {
    if (line.trim() === '') break
    if (/^[\w-]+$/.test(line)) names.push(line)
  }
  return names
}
