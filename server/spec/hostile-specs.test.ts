/**
 * A thousand definitions that nobody means well with: valid ones, each with one thing done to it. They go the way a
 * request goes, from the text of its body to the command line; each is refused with a code of the caller's fault and at
 * a field, and nothing is ever started.
 *
 * GUESTDECK_SPEC_SEED and GUESTDECK_SPEC_RUNS try others.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { ERROR_STATUS } from '#lib/schema/error.ts'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller } from '#server/engine/types.ts'
import { createVmAuthority } from '#server/engine/vm-authority.ts'
import { checkAgainstOthers } from '#server/engine/vm-checks.ts'
import { parseJsonBody } from '#server/http/json-body.ts'
import { fromIssues } from '#server/http/plugins/errors.ts'
import { validSpec } from '#server/testing/random-spec.ts'
import { compile } from './compile.ts'
import { normalizeSpec } from './normalize.ts'
import { capabilitiesOf, compileInput, DISK_ID, factsFor, ISO_ID } from './test-support.ts'
import type { LaunchPlan } from './types.ts'

const SEED = Number(process.env.GUESTDECK_SPEC_SEED ?? 20_261_124)
const RUNS = Number(process.env.GUESTDECK_SPEC_RUNS ?? 1000)
const DASHBOARD_PORT = 8686

const root = realpathSync(mkdtempSync(join(tmpdir(), 'gd-hostile-')))
afterAll(() => rmSync(root, { recursive: true }))
const [shares, images, own] = [join(root, 'shares'), join(root, 'images'), join(root, 'shares', 'own')]
for (const dir of [join(shares, 'docs'), images, own, join(root, 'secret')]) mkdirSync(dir, { recursive: true })
for (const file of [join(images, 'vmlinuz'), join(root, 'secret', 'key'), join(shares, 'file')]) writeFileSync(file, '')
symlinkSync(join(root, 'secret'), join(shares, 'way-out'))
symlinkSync(join(root, 'secret', 'key'), join(images, 'way-out'))

const capabilities = capabilitiesOf('7.2')
const authority = createVmAuthority({
  allowRawArgs: true,
  shareDirs: [shares],
  imageDirs: [images],
  ownDirs: [own],
  hostDevices: async () => ({ pci: [], usb: [], mdev: { types: [], instances: [] } }),
  isOpen: () => false,
})
const caller = (role: Caller['role']): Caller => ({
  ...{ userId: 'ann', name: 'ann', role, from: '127.0.0.1' },
  ...{ credentialId: 'c', via: 'session' },
})
const admin = caller('admin')
const operator = caller('operator')

const others = [
  {
    ...{ id: 'other', ownerId: 'ann', uid: null },
    spec: normalizeSpec(
      VmSpecInput.parse({
        name: 'Other',
        vsock: { cid: 77 },
        networks: [{ mac: '52:54:00:99:99:99', forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }] }],
      }),
      factsFor(capabilities),
    ),
  },
]

/** @throws EngineError at whichever step refuses the request */
async function request(who: Caller, text: string): Promise<LaunchPlan> {
  const parsed = VmSpecInput.safeParse(parseJsonBody(text))
  if (!parsed.success) throw fromIssues(parsed.error.issues)
  authority.assertMayAsk(who, null, parsed.data)
  const spec = normalizeSpec(parsed.data, factsFor(capabilities))
  authority.assertMaySet(who, null, spec)
  await authority.assertHostPaths(spec)
  const context = { others, ownerId: 'ann', selfId: null, dashboardPort: DASHBOARD_PORT, canSee: () => true }
  checkAgainstOthers(spec, context)
  const result = compile(compileInput(spec, capabilities))
  if (result.ok) return result.plan
  const [problem] = result.problems
  throw new EngineError('bad_input', problem?.message ?? '', problem === undefined ? {} : { field: problem.field })
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type Fields = { [key: string]: Json }
type Path = readonly (string | number)[]

function* placesOf(value: Json, path: Path = []): Generator<{ path: Path; value: Json }> {
  if (path.length > 0) yield { path, value }
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) yield* placesOf(inner, [...path, key])
}

/** As text, because of `__proto__`, which no object would keep. */
function textWith(value: Json, path: Path, text: string): string {
  const [head, ...rest] = path
  if (head === undefined) return text
  const inner = (key: string, from: Json) => (key === String(head) ? textWith(from, rest, text) : JSON.stringify(from))
  if (Array.isArray(value)) return `[${value.map((from, n) => inner(String(n), from))}]`
  const entries = Object.entries(value as Fields)
  return `{${entries.map(([key, from]) => `${JSON.stringify(key)}:${inner(key, from)}`)}}`
}

interface Attack {
  readonly what: string
  readonly who: Caller
  /** Null: there is nothing in this definition to do that to. */
  readonly text: string | null
}

const pick = <T>(from: readonly T[], n: number): T | undefined => from[n % from.length]
const INJECTIONS = [',x=y', ',,id=y', "';id;'", '"}', '$(id)', '/../..', ' ', '%s', '=on', '‮']
const CONTROL = ['\n', '\0', '\r\n-monitor stdio', '\u001b[2J', '\u007f']
const LONG = 'x'.repeat(5000)
const WRONG_FOR = {
  number: ['"1"', '1.5', '-1e12', '1e300', '9007199254740993', 'true', '{}', '[]', '"0x10"'],
  boolean: ['"true"', '1', '{}', '"on"', '[]'],
  string: ['7', 'true', '{}', '[]', '["x"]', JSON.stringify(LONG)],
  array: ['{}', '"x"', '5', '{"length":1,"0":{}}', '[[]]', '[7]', '[null]'],
  object: ['[]', '"x"', '5', 'true'],
}
const typeOf = (value: Json) => (Array.isArray(value) ? 'array' : typeof value) as keyof typeof WRONG_FOR

/** Texts in which commas, quotes and spaces are at home. */
const isFreeText = ([first, , third]: Path) =>
  ['description', 'smbios', 'directKernel', 'properties', 'rawArgs'].includes(String(first)) || third === 'source'

const withFields = (base: Fields, fields: object) => JSON.stringify({ ...base, ...fields })
const added = (base: Fields, list: string, ...devices: object[]) =>
  withFields(base, { [list]: [...((base[list] as Json[] | undefined) ?? []), ...devices] })
const disk = (fields: object = {}) => ({ device: 'disk', ...fields })
const forward = (hostPort: number) => ({ protocol: 'tcp', hostPort, guestPort: 22 })

/** Additions that no definition may have, whatever else is in it. */
const ADDITIONS: readonly ((base: Fields) => string)[] = [
  (base) => added(base, 'disks', disk({ id: 'twin' }), disk({ id: 'twin' })),
  (base) => added(base, 'channels', { id: 'twin', name: 'a' }, { id: 'twin', name: 'b' }),
  (base) => withFields(base, { disks: [disk({ id: 'twin' })], networks: [{ id: 'twin' }] }),
  (base) => withFields(base, { machine: 'q35', disks: [disk({ rootPort: 3 }), disk({ rootPort: 3 })] }),
  (base) => added(base, 'disks', disk({ bus: 'sata', port: 1 }), disk({ bus: 'sata', port: 1 })),
  (base) => added(base, 'disks', disk({ bus: 'usb', port: 9 }), disk({ bus: 'usb', port: 9 })),
  (base) => added(base, 'disks', disk({ bus: 'usb', port: 0 })),
  (base) => added(base, 'disks', disk({ bootIndex: 9 }), disk({ bootIndex: 9 })),
  (base) => added(base, 'disks', disk({ serial: 'S1' }), disk({ serial: 'S1' })),
  (base) => added(base, 'networks', { mac: '52:54:00:00:99:01' }, { mac: '52:54:00:00:99:01' }),
  (base) => added(base, 'networks', { mac: '52:54:00:99:99:99' }),
  (base) => added(base, 'networks', { mac: '01:00:5e:00:00:01' }),
  (base) => added(base, 'networks', { mac: '00:00:00:00:00:00' }),
  (base) => added(base, 'networks', { forwards: [forward(2222)] }),
  (base) => added(base, 'networks', { forwards: [forward(DASHBOARD_PORT)] }),
  (base) => added(base, 'networks', { forwards: [forward(3333), forward(3333)] }),
  (base) => added(base, 'networks', { forwards: [forward(22)] }),
  (base) => added(base, 'networks', { network: 'bridge', bridge: 'br0,script=/tmp/x' }),
  (base) => added(base, 'networks', { network: 'tap', ifname: 'eth0' }),
  (base) =>
    added(base, 'shares', { driver: '9p', tag: 'a', source: shares }, { driver: '9p', tag: 'a', source: shares }),
  (base) => added(base, 'hostDevices', { type: 'pci', address: '0000:00:1f.0,rombar=0' }),
  (base) => withFields(base, { name: 'oTHER' }),
  (base) => withFields(base, { name: '../../etc' }),
  (base) => withFields(base, { machine: 'q35', vsock: { cid: 77 } }),
  (base) => withFields(base, { memoryMiB: 16_777_216, numa: [], hugePages: 'none', memoryMaxMiB: null }),
  (base) => withFields(base, { cpus: 100_000 }),
  (base) => withFields(base, { disks: Array.from({ length: 31 }, () => disk({ bus: 'virtio-scsi' })) }),
  (base) => withFields(base, { networks: Array.from({ length: 9 }, () => ({})) }),
  (base) => withFields(base, { rawArgs: Array.from({ length: 65 }, () => '-mem-prealloc') }),
  ...['rng0', 'pflash0', 'rp3', 'cpu-1', 'nvram'].map((id) => (base: Fields) => added(base, 'disks', disk({ id }))),
  ...['-kernel', '../../x', '/etc/passwd', '..', 'a b'].flatMap((id) => [
    (base: Fields) => added(base, 'disks', disk({ id })),
    (base: Fields) => added(base, 'disks', disk({ image: id })),
    (base: Fields) => withFields(base, { cpuModel: id }),
  ]),
  (base) => added(base, 'disks', disk({ image: '01890000-0000-7000-8000-0000000000ff' })),
  (base) => added(base, 'disks', disk({ image: ISO_ID })),
  (base) => added(base, 'disks', disk({ image: DISK_ID, sizeGiB: 1 })),
  (base) => added(base, 'disks', { device: 'cdrom', image: DISK_ID }),
  (base) => added(base, 'disks', { device: 'floppy' }),
  ...[
    '/',
    '/etc',
    'relative',
    root,
    own,
    `${shares}/../secret`,
    `${shares}/./docs`,
    `${shares}/way-out`,
    `${shares}/file`,
    `${shares}/nothing`,
    `${shares}x`,
    `${shares}/docs/`,
    `${shares}//docs`,
    `${shares}/docs\n`,
  ].map((source) => (base: Fields) => withFields(base, { shares: [{ driver: '9p', tag: 'x', source }] })),
  ...[
    '/etc/passwd',
    'relative',
    `${images}/../secret/key`,
    `${images}/way-out`,
    `${images}/nothing`,
    images,
    `${images}/\0`,
  ].map((kernel) => (base: Fields) => withFields(base, { directKernel: { kernel, initrd: null, commandLine: '' } })),
  ...[
    { 'a,b': { x: 1 } },
    { nothere: { x: 1 } },
    { pflash0: { x: 1 } },
    { mon0: { pretty: 'on' } },
    ...[
      'drive',
      'romfile',
      'bootindex',
      'netdev',
      'x-pcie-lnksta-dllla',
      'nosuch',
      'a,b',
      'addr',
      'host',
      'rombar=',
    ].map((name) => ({ victim: { [name]: 'x' } })),
    ...[1.5, -1, 1e300, 'a,b', true].map((value) => ({ victim: { 'num-queues': value } })),
  ].map(
    (properties) => (base: Fields) =>
      withFields(base, { machine: 'q35', disks: [disk({ id: 'victim', bus: 'virtio-blk' })], properties }),
  ),
  ...[
    ['-monitor', 'stdio'],
    ['-qmp', 'tcp:0.0.0.0:1,server'],
    ['-drive', 'file=/etc/passwd'],
    ['-hda', '/dev/sda'],
    ['-kernel', '/etc/passwd'],
    ['-device', 'vfio-pci,host=0000:00:1f.0'],
    ['-device', 'usb-host,hostbus=1,hostport=1'],
    ['-device', '{"driver":"loader","file":"/etc/shadow"}'],
    ['-device', 'virtio-blk-pci,drive=x,drive=y'],
    ['-object', 'memory-backend-file,id=m,mem-path=/dev/sda,size=1M'],
    ['-object', 'secret,id=s,file=/etc/shadow'],
    ['-chardev', 'socket,id=c,path=/tmp/x,server=on'],
    ['-chardev', 'null,id=c,logfile=/tmp/x'],
    ['-fw_cfg', 'name=opt/x,file=/etc/shadow'],
    ['-smbios', 'file=/etc/shadow'],
    ['-machine', 'dumpdtb=/tmp/x'],
    ['-set', 'device.disk0.drive=x'],
    ['-global', 'virtio-blk-pci.romfile=/etc/shadow'],
    ['-sandbox', 'off'],
    ['-runas', 'root'],
    ['-daemonize'],
    ['-incoming', 'exec:id'],
    ['-netdev', 'tap,id=t,script=/tmp/x'],
    ['-virtfs', 'local,path=/,mount_tag=x,security_model=none'],
    ['-S'],
    ['/etc/passwd'],
    ['-k'],
    ['-k', 'd\ne'],
    ['--', '-k', 'de'],
    ['-readconfig', '/etc/passwd'],
    ['-plugin', '/tmp/x.so'],
  ].map((rawArgs) => (base: Fields) => withFields(base, { rawArgs })),
]

const ADMINS_FIELDS = [
  { shares: [{ driver: '9p', tag: 'x', source: join(shares, 'docs') }] },
  { directKernel: { kernel: join(images, 'vmlinuz'), initrd: null, commandLine: '' } },
  { hostDevices: [{ type: 'usb-id', vendor: '0001', product: '0002' }] },
  { rawArgs: ['-k', 'de'] },
  { networks: [{ network: 'bridge', bridge: 'br0' }] },
]
const UNKNOWN = ['__proto__', 'constructor', 'prototype', 'args', 'qemu', 'id\0', ' ', 'Name', 'toString', '-device']

type Kind = 'type' | 'injection' | 'control' | 'unknown' | 'addition' | 'role'
function attack(base: Fields, kind: Kind, which: number, value: number): Attack {
  const places = [...placesOf(base)]
  const replaced = (from: readonly { path: Path; value: Json }[], by: (value: Json) => string | undefined): Attack => {
    const place = pick(from, which)
    const text = place === undefined ? undefined : by(place.value)
    return {
      what: `${kind} ${place?.path.join('.')}=${text?.slice(0, 80)}`,
      who: admin,
      text: place === undefined || text === undefined ? null : textWith(base, place.path, text),
    }
  }
  const texts = places.filter((place) => typeof place.value === 'string' && place.path[0] !== 'description')
  switch (kind) {
    case 'type':
      return replaced(
        places.filter((place) => place.value !== null),
        (old) => pick(WRONG_FOR[typeOf(old)], value),
      )
    case 'injection':
      return replaced(
        texts.filter(({ path }) => !isFreeText(path)),
        (old) => JSON.stringify(`${old}${pick(INJECTIONS, value)}`),
      )
    case 'control':
      return replaced(texts, (old) => JSON.stringify(`${old}${pick(CONTROL, value)}`))
    case 'unknown': {
      const objects = [{ path: [] as Path, value: base as Json }, ...places].filter((p) => typeOf(p.value) === 'object')
      const key = pick(UNKNOWN, value) ?? ''
      return replaced(
        objects.filter((place) => place.value !== null),
        (old) =>
          `${JSON.stringify(old).replace(/\}$/, Object.keys(old as Fields).length === 0 ? '' : ',')}${JSON.stringify(key)}:1}`,
      )
    }
    case 'addition':
      return {
        what: `addition ${which % ADDITIONS.length}`,
        who: admin,
        text: pick(ADDITIONS, which)?.(base) ?? null,
      }
    case 'role': {
      const { shares, directKernel, hostDevices, rawArgs, networks, ...harmless } = base
      return { what: 'role', who: operator, text: withFields(harmless, pick(ADMINS_FIELDS, which) ?? {}) }
    }
  }
}

describe(`${RUNS} hostile definitions (GUESTDECK_SPEC_SEED=${SEED})`, () => {
  const host = { kernel: join(images, 'vmlinuz'), shareDir: join(shares, 'docs'), others: true }
  // Making them valid is what takes the time.
  const bases = fc.sample(validSpec(capabilities, host), { seed: SEED, numRuns: Math.ceil(RUNS / 5) })
  const attacks = fc
    .tuple(
      fc.constantFrom(...bases),
      fc.constantFrom<Kind>(
        'type',
        'type',
        'injection',
        'control',
        'unknown',
        'addition',
        'addition',
        'addition',
        'role',
      ),
      fc.nat(),
      fc.nat(),
    )
    .map(([base, ...rest]) => attack(JSON.parse(JSON.stringify(base)), ...rest))
    .filter(({ text }) => text !== null)

  it('each is refused at a field, and none gets as far as a process', async () => {
    let spawned = 0
    const count = () => {
      spawned += 1
    }
    subscribe('child_process', count)
    const codes = new Map<string, number>()
    const wrong: string[] = []
    for (const { what, who, text } of fc.sample(attacks, { seed: SEED, numRuns: RUNS })) {
      const outcome = await request(who, text ?? '').then(
        () => 'accepted',
        (error: unknown) => error,
      )
      if (outcome instanceof EngineError) {
        const status = ERROR_STATUS[outcome.code]
        codes.set(outcome.code, (codes.get(outcome.code) ?? 0) + 1)
        if (status >= 400 && status < 500 && outcome.field !== undefined && outcome.field !== '') continue
      }
      wrong.push(`${what}: ${String(outcome)}\n${text}`)
    }
    unsubscribe('child_process', count)
    expect(wrong, wrong.join('\n')).toEqual([])
    expect(spawned).toBe(0)
    // Each line of defence had its share.
    for (const code of ['bad_input', 'unknown_field', 'forbidden', 'name_taken', 'conflict', 'image_missing'])
      expect(codes.get(code) ?? 0, code).toBeGreaterThan(0)
  }, 120_000)

  it('what they are made from is accepted', async () => {
    for (const base of bases) {
      const text = JSON.stringify(base)
      await expect(request(admin, text), text).resolves.toHaveProperty('options')
    }
  }, 60_000)
})
