/** No definition that the schema accepts can add an option, leave its JSON value, or put its free text on the command line. */
import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import { cards, cdromFields, diskFields, type Spoil } from '#server/testing/random-spec.ts'
import { compile, flattenArgv } from './compile.ts'
import { normalizeSpec } from './normalize.ts'
import { toShell } from './shell.ts'
import { capabilitiesOf, compileInput, factsFor, ISO_ID } from './test-support.ts'
import type { LaunchPlan } from './types.ts'

const capabilities = capabilitiesOf('7.2')
const JSON_FLAGS = new Set(['-device', '-blockdev', '-netdev', '-object'])

/** Every option the compiler may emit; what is not here is an injection or belongs here with a golden file. */
const FLAGS = [
  ...JSON_FLAGS,
  ...[
    '-name',
    '-uuid',
    '-no-user-config',
    '-nodefaults',
    '-S',
    '-no-shutdown',
    '-action',
    '-pidfile',
    '-msg',
    '-sandbox',
  ],
  ...['-machine', '-accel', '-rtc', '-global', '-boot', '-cpu', '-smp', '-m', '-overcommit', '-display', '-vnc'],
  ...['-chardev', '-mon'],
]

/** Strings that have broken QEMU command lines, shells or JSON before. */
const hostile = fc.constantFrom(
  'a,process=x',
  'a,,b',
  "x' ; touch /tmp/owned #",
  '"}' + ',{"driver":"null-co"}',
  '-device',
  '--help',
  '$(id)',
  '`id`',
  'a\nb',
  'a\0b',
  '../../x',
  '__proto__',
  'nbd://127.0.0.1:1',
  'json:{"driver":"file"}',
  'fat:rw:/',
  'tcp:127.0.0.1:1-:1,guestfwd=tcp:10.0.2.100:1-cmd:/bin/true',
  '\\',
  '\u202e',
  '😀',
  '%s%n',
)
const text = fc.oneof(hostile, fc.string({ unit: 'binary', maxLength: 70 }), fc.string({ maxLength: 70 }))
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
/** Valid most of the time, so that enough whole definitions get through to the compiler. */
const mostly: Spoil = (valid) =>
  fc.oneof({ weight: 20, arbitrary: valid as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: text })
const disk = fc.record(diskFields(mostly))
const cdrom = fc.record(cdromFields(mostly))
const card = cards(mostly)
const anyInput = fc.record({
  name: text,
  description: maybe(text),
  tags: maybe(fc.array(mostly(fc.stringMatching(/^[a-z][a-z0-9._-]{0,31}$/)), { maxLength: 2 })),
  guest: maybe(fc.constantFrom('linux', 'windows', 'bsd', 'other')),
  cpus: maybe(fc.integer({ min: 1, max: 255 })),
  cpuModel: maybe(mostly(fc.constantFrom('auto', 'qemu64', 'max'))),
  memoryMiB: maybe(fc.integer({ min: 16, max: 1_000_000 })),
  machine: maybe(mostly(fc.constantFrom('pc-q35-7.2', 'pc-q35-6.0'))),
  firmware: maybe(fc.constantFrom('bios', 'uefi')),
  disks: maybe(fc.array(fc.oneof(disk, cdrom), { maxLength: 6 })),
  networks: maybe(fc.array(card, { maxLength: 3 })),
  display: maybe(fc.constantFrom('virtio-vga', 'std', 'none')),
  usbInput: maybe(fc.boolean()),
  serial: maybe(fc.boolean()),
  rng: maybe(fc.boolean()),
  balloon: maybe(fc.boolean()),
  agentChannel: maybe(fc.boolean()),
  spareRootPorts: maybe(fc.integer({ min: 0, max: 16 })),
})

/** The plan, or null when the input was refused anywhere on the way. */
function compiled(input: unknown, directory = '/run/g'): { spec: VmSpec; plan: LaunchPlan } | null {
  const parsed = VmSpecInput.safeParse(input)
  if (!parsed.success) return null
  let spec: VmSpec
  try {
    spec = normalizeSpec(parsed.data, factsFor(capabilities))
  } catch {
    return null
  }
  const result = compile(compileInput(spec, capabilities, { runDir: directory, dataDir: directory }))
  return result.ok ? { spec, plan: result.plan } : null
}

const isUsb = (name: string) => name === 'usb' || name === 'usb-net'

/** What makes the number of arguments: which devices there are, never what they are called. */
function expectedLength(spec: VmSpec): number {
  const blank = compiled({
    name: 'x',
    firmware: spec.firmware,
    display: spec.display,
    usbInput: spec.usbInput,
    serial: spec.serial,
    rng: spec.rng,
    balloon: spec.balloon,
    agentChannel: spec.agentChannel,
    networks: [],
    disks: [],
    spareRootPorts: 0,
  })
  if (blank === null) throw new Error('the blank spec must compile')
  const ports = [
    ...spec.disks.flatMap((d) => (d.device === 'disk' ? [d.rootPort] : [])),
    ...spec.networks.map((n) => n.rootPort),
  ].filter((port) => port !== null)
  const rootPorts = Math.min(32, Math.max(Math.max(-1, ...ports) + 1, ports.length + spec.spareRootPorts))
  const perDrive = spec.disks.map((d): number => {
    if (d.device === 'cdrom') return (d.image === null ? 2 : 4) + (d.bus === 'usb' ? 2 : 0)
    return 4 + (d.throttle === null ? 0 : 4) + (d.ioThread && d.bus === 'virtio-blk' ? 2 : 0)
  })
  const onScsi = spec.disks.filter((d) => d.bus === 'virtio-scsi')
  const controllers =
    (onScsi.length > 0 ? 2 : 0) +
    (onScsi.some((d) => d.device === 'disk' && d.ioThread) ? 2 : 0) +
    (!spec.usbInput && [...spec.disks.map((d) => d.bus), ...spec.networks.map((n) => n.model)].some(isUsb) ? 2 : 0)
  return (
    flattenArgv(blank.plan).args.length +
    2 * rootPorts +
    perDrive.reduce((sum, n) => sum + n, 0) +
    controllers +
    spec.networks.reduce((sum, n) => sum + (n.network === 'none' ? 2 : 4), 0)
  )
}

describe('injection', () => {
  it('arbitrary input is refused, or compiles to as many arguments as it has devices', () => {
    let accepted = 0
    fc.assert(
      fc.property(anyInput, (input) => {
        const result = compiled({ ...input, name: `n${input.name}` }) ?? compiled({ ...input, name: 'x' })
        if (result === null) return
        accepted += 1
        expect(flattenArgv(result.plan).args).toHaveLength(expectedLength(result.spec))
      }),
      { numRuns: 1500 },
    )
    // Otherwise the property says little.
    expect(accepted).toBeGreaterThan(100)
  })

  it('every JSON argument parses to one object and every option begins with its own dash', () => {
    fc.assert(
      fc.property(anyInput, text, (input, directory) => {
        const result = compiled({ ...input, name: 'x' }, `/run/${directory.replaceAll('\0', '')}`)
        if (result === null) return
        for (const { argv } of result.plan.options) {
          expect(FLAGS).toContain(argv[0])
          expect(argv.length).toBeLessThanOrEqual(2)
          if (JSON_FLAGS.has(argv[0] ?? '')) {
            const value: unknown = JSON.parse(argv[1] ?? '')
            expect(value).toBeTypeOf('object')
            expect(JSON.stringify(value)).toBe(argv[1])
          }
        }
      }),
      { numRuns: 600 },
    )
  })

  it('name, description and tags never reach the command line (D01)', () => {
    const marker = fc.stringMatching(/^[A-Za-z]{1}zq[a-z]{6,20}$/)
    fc.assert(
      fc.property(marker, (word) => {
        const result = compiled({
          name: word,
          description: word,
          tags: [word],
          disks: [{ device: 'cdrom', image: ISO_ID }],
        })
        expect(result).not.toBeNull()
        expect(
          flattenArgv(
            result?.plan ?? {
              binary: '',
              wrapper: [],
              options: [],
              helpers: [],
              taps: [],
              commands: [],
              pins: [],
              startSeconds: null,
              warnings: [],
            },
          ).args.join('\0'),
        ).not.toContain(word)
      }),
    )
  })

  it('hostile ids, addresses, ports, models and machines are refused by the schema (D02, D11)', () => {
    fc.assert(
      fc.property(hostile, (word) => {
        // `__proto__` as a key sets the prototype instead of adding one, so there is nothing to refuse.
        for (const input of [
          { disks: [{ device: 'disk', id: word }] },
          { disks: [{ device: 'cdrom', image: word }] },
          { disks: [{ device: 'disk', rootPort: word }] },
          { networks: [{ id: word }] },
          { networks: [{ mac: word }] },
          { networks: [{ forwards: [{ protocol: word, hostPort: 2222, guestPort: 22 }] }] },
          { networks: [{ forwards: [{ protocol: 'tcp', hostPort: word, guestPort: 22 }] }] },
          { networks: [{ network: word }] },
          { cpuModel: word },
          { machine: word },
          { memoryMiB: word },
          { display: word },
          { [word]: 1 },
        ])
          if (word !== '__proto__' || !(Object.keys(input).length === 0))
            expect(compiled({ name: 'x', ...input }), `${word} in ${JSON.stringify(input)}`).toBeNull()
      }),
    )
  })

  it('commas in directories are doubled where QEMU splits at commas and literal in JSON', () => {
    const result = compiled({ name: 'x', disks: [{ device: 'cdrom', image: ISO_ID }] }, '/r,server=off/x')
    const argv = result?.plan.options.map((option) => option.argv) ?? []
    const qmp = argv.find(([flag, value]) => flag === '-chardev' && value?.startsWith('socket,id=mon0,'))?.[1]
    expect(qmp).toMatch(/path=\/r,,server=off\/x\/[^,]+,server=on,wait=off$/)
    expect(argv.find(([flag]) => flag === '-pidfile')?.[1]).toContain('/r,server=off/x/')
    const [blockdev] = argv.filter(([flag]) => flag === '-blockdev').map(([, value]) => JSON.parse(value ?? ''))
    expect(blockdev.file.filename).toBe(`/r,server=off/x/images/${ISO_ID}`)
  })

  it('a shell reads the shown command back as exactly the argv that is spawned', () => {
    const directory = `/r 'q" $(id) \`id\` \\ ,é😀`
    const result = compiled(
      { name: 'x', firmware: 'uefi', disks: [{ device: 'cdrom', image: ISO_ID }, { device: 'disk' }] },
      directory,
    )
    if (result === null) throw new Error('must compile')
    const { file, args } = flattenArgv(result.plan)
    const shown = toShell(result.plan)
    const read = spawnSync('/bin/sh', ['-c', `printf '%s\\0' ${shown}`], { encoding: 'utf8' })
    expect(read.stdout.split('\0').slice(0, -1)).toEqual([file, ...args])
  })
})
