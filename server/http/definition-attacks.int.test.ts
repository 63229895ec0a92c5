/**
 * Definitions nobody means well with, from outside: a dashboard that runs, over HTTP, with a guest that runs under it.
 * Each is refused at its field before anything is made, and what lies around stays untouched.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { API_BASE } from '#lib/api/contract.ts'
import { send } from '#server/http/test-rig.ts'
import { deck, dir, isRunning, PASSWORD, ready, server, token } from '#server/testing/process-rig.ts'

const TIMEOUT_MS = 120_000
const HOST_MIB = Math.floor(totalmem() / 2 ** 20)
const MAC = '52:54:00:aa:00:01'

interface Canaries {
  readonly secret: string
  readonly target: string
  readonly port: number
  /** Says what has happened to them; empty when nothing has. */
  harmed(): string[]
}

let listener: Server
let canaries: Canaries

/** A secret that must stay as it is and unread, a file that must not come to be, a port nobody must call. */
beforeEach(async () => {
  const secret = join(dir, 'secret')
  const target = join(dir, 'touched')
  writeFileSync(secret, 'the secret of the host\n', { mode: 0o600 })
  const hash = () => createHash('sha256').update(readFileSync(secret)).digest('hex')
  const [before, { mtimeMs, mode }] = [hash(), statSync(secret)]
  let calls = 0
  listener = createServer((socket) => {
    calls += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  canaries = {
    secret,
    target,
    port: address.port,
    harmed: () => [
      ...(existsSync(target) ? ['the file was made'] : []),
      ...(calls > 0 ? [`${calls} connections`] : []),
      ...(hash() !== before || statSync(secret).mtimeMs !== mtimeMs || statSync(secret).mode !== mode
        ? ['the secret was written']
        : []),
    ],
  }
})
afterEach(() => new Promise<void>((resolve) => listener.close(() => resolve())))

type Fields = Record<string, unknown>
interface Attack {
  readonly what: string
  readonly input: Fields
  readonly status: number
  readonly code: string
  readonly field: string
}

const bad = (what: string, field: string, input: Fields): Attack => ({
  ...{ what, input, field },
  ...{ status: 400, code: 'bad_input' },
})
const card = (more: Fields) => ({ networks: [more] })
const forward = (more: Fields) => card({ forwards: [{ protocol: 'tcp', hostPort: 20_022, guestPort: 22, ...more }] })
const list = (count: number, of: Fields) => Array.from({ length: count }, () => of)

const NAMES = [
  'a,process=x',
  'a\nb',
  '../x',
  '__proto__',
  '<img src=x onerror=alert(1)>',
  'x'.repeat(300),
  'a\u200bb',
  'a\u202eb',
  '-name',
  'a ',
]

/** What a definition says of itself, its size and its devices, by the rule that stops it. */
const attacks = (): Attack[] => [
  ...NAMES.map((name) => bad(`the name ${JSON.stringify(name).slice(0, 40)}`, 'name', { name })),
  bad('a device id with an option in it', 'disks.0.id', { disks: [{ device: 'disk', id: 'a,drive=x' }] }),
  bad('a tag that is mark-up', 'tags.0', { tags: ['<b>'] }),

  // hostfwd is `protocol:address:port-address:port` on QEMU's side.
  bad(
    'a protocol with a rule in it',
    'networks.0.forwards.0.protocol',
    forward({ protocol: 'tcp::1-:1,guestfwd=tcp' }),
  ),
  bad(
    'a host port with a command in it',
    'networks.0.forwards.0.hostPort',
    forward({ hostPort: `20022-:22,guestfwd=tcp:10.0.2.100:1-cmd:touch ${canaries.target}` }),
  ),
  bad(
    'a guest port with a rule in it',
    'networks.0.forwards.0.guestPort',
    forward({ guestPort: '22,hostfwd=tcp::9-:9' }),
  ),
  bad('a port of the host itself', 'networks.0.forwards.0.hostPort', forward({ hostPort: 22 })),
  {
    ...bad('an address to listen on', 'networks.0.forwards.0.hostAddress', forward({ hostAddress: '0.0.0.0' })),
    code: 'unknown_field',
  },
  {
    ...bad('a rule of QEMU’s own', 'networks.0.guestfwd', card({ guestfwd: 'tcp:10.0.2.100:1-cmd:sh' })),
    code: 'unknown_field',
  },
  bad(
    'a bridge with a script',
    'networks.0.bridge',
    card({ network: 'bridge', bridge: `br0,script=${canaries.target}` }),
  ),

  ...[0, -1, 15, 1e9, 2 ** 53].map((memoryMiB) => bad(`${memoryMiB} MiB of memory`, 'memoryMiB', { memoryMiB })),
  bad('more memory than the host has', 'memoryMiB', { memoryMiB: HOST_MIB + 1 }),
  ...[0, -1, 1000, 1.5].map((cpus) => bad(`${cpus} CPUs`, 'cpus', { cpus })),
  bad('fewer CPUs at most than at first', 'maxCpus', { cpus: 4, maxCpus: 2 }),
  bad('a topology of other CPUs', 'topology', {
    cpus: 2,
    maxCpus: 2,
    topology: { sockets: 64, cores: 255, threads: 8 },
  }),
  bad('a DIMM of no size', 'dimms.0.sizeMiB', { memoryMaxMiB: 4096, dimms: [{ sizeMiB: 0 }] }),

  bad('a multicast address', 'networks.0.mac', card({ mac: '01:00:5e:00:00:01' })),
  bad('the broadcast address', 'networks.0.mac', card({ mac: 'ff:ff:ff:ff:ff:ff' })),
  bad('an address with an option in it', 'networks.0.mac', card({ mac: `${MAC},romfile=${canaries.secret}` })),
  bad('one address on two cards', 'networks.1.mac', { networks: [{ mac: MAC }, { mac: MAC }] }),

  bad('forty network cards', 'networks', { networks: list(40, {}) }),
  bad('three hundred disks', 'disks', { disks: list(300, { device: 'disk', sizeGiB: 1 }) }),
  bad('a boot position of nothing', 'disks.0.bootIndex', { disks: [{ device: 'disk', bootIndex: 0 }] }),
  bad('one boot position twice', 'networks.0.bootIndex', {
    disks: [{ device: 'disk', bootIndex: 1 }],
    networks: [{ bootIndex: 1 }],
  }),
  bad('one socket twice', 'disks.1.rootPort', {
    disks: [
      { device: 'disk', rootPort: 3 },
      { device: 'disk', rootPort: 3 },
    ],
  }),
  bad('one id twice', 'disks.1.id', {
    disks: [
      { device: 'disk', id: 'd' },
      { device: 'disk', id: 'd' },
    ],
  }),
  bad('a path for an image', 'disks.0.image', { disks: [{ device: 'cdrom', image: '/etc/shadow' }] }),
  bad('a protocol for an image', 'disks.0.image', {
    disks: [{ device: 'disk', image: `nbd://127.0.0.1:${canaries.port}/x` }],
  }),

  ...['ivshmem-plain', 'pvrdma', 'vfio-pci', 'help', 'virtio-net-pci,romfile=x'].map((model) =>
    bad(`the card ${model}`, 'networks.0.model', card({ model })),
  ),
  ...['help', '?', 'fat:/etc', 'vvfat'].map((bus) =>
    bad(`the bus ${bus}`, 'disks.0.bus', { disks: [{ device: 'disk', bus }] }),
  ),
  ...(['display', 'sound', 'usbController', 'serialDevice', 'tpm', 'iommu', 'firmware'] as const).map((field) =>
    bad(`help for ${field}`, field, { [field]: 'help' }),
  ),
  ...['help', 'none', 'isapc', 'pc,accel=kvm', 'pc-q35-99.0'].map((machine) =>
    bad(`the machine ${machine}`, 'machine', { machine }),
  ),
  ...['help', 'host,+vmx', '?'].map((cpuModel) => bad(`the CPU ${cpuModel}`, 'cpuModel', { cpuModel })),
  ...(
    [
      ['scsi', true],
      ['romfile', canaries.secret],
      ['x-data-plane', true],
      ['help', true],
      ['drive', 'x'],
    ] as const
  ).map(([name, value]) =>
    bad(`the property ${name}`, `properties.disk0.${name}`, {
      disks: [{ device: 'disk', id: 'disk0' }],
      properties: { disk0: { [name]: value } },
    }),
  ),
  bad('properties of no device', 'properties.nothing', { properties: { nothing: { vectors: 1 } } }),
  {
    ...bad('properties of what every object has', 'properties.constructor', {
      properties: { constructor: { prototype: true } },
    }),
    code: 'unknown_field',
  },

  { ...bad('a schedule, which there are none of', 'schedules', { schedules: ['* * * * * *'] }), code: 'unknown_field' },
  {
    ...bad('data for the first boot, which there is none of', 'userData', { userData: '#!/bin/sh' }),
    code: 'unknown_field',
  },
]

/** Options that have taken over hosts, or read and written their files. */
const rawArgs = (): string[][] => [
  ['-incoming', `exec:touch ${canaries.target}`],
  ['-netdev', `tap,id=n,script=${canaries.target}`],
  ['-netdev', `user,id=n,guestfwd=tcp:10.0.2.100:1234-cmd:touch ${canaries.target}`],
  ['-plugin', canaries.target],
  ['-drive', 'file=fat:/etc'],
  ['-drive', `file=nbd://127.0.0.1:${canaries.port}/x`],
  ['-fw_cfg', `name=opt/x,file=${canaries.secret}`],
  ['-smbios', `type=11,path=${canaries.secret}`],
  ['-chardev', `file,id=f,path=${canaries.secret}`],
  ['-D', canaries.secret],
  ['-device', 'help'],
  ['-device', 'ivshmem-plain,memdev=m'],
  ['-device', 'vfio-pci,host=0000:00:01.0'],
  ['-device', 'pvrdma'],
  ['-device', 'virtio-blk-pci,drive=x,scsi=on'],
  ['-object', `memory-backend-file,id=m,size=1M,mem-path=${canaries.secret}`],
]

/** A dashboard whose QEMU notes how it was called, an administrator and an operator. */
async function dashboard(env: Record<string, string> = {}) {
  const calls = join(dir, 'calls')
  const qemu = join(dir, 'qemu')
  writeFileSync(calls, '')
  chmodSync(calls, 0o666)
  writeFileSync(qemu, `#!/bin/sh\necho "$*" >>'${calls}'\nexec qemu-system-x86_64 "$@"\n`)
  chmodSync(qemu, 0o755)
  const admin = await token()
  expect(await deck(['user', 'add', 'olga', '--role', 'operator', '--password-stdin'], `${PASSWORD}\n`).ended).toBe(0)
  const created = deck(['token', 'create', '--user', 'olga', '--label', 'test'])
  expect(await created.ended).toBe(0)
  const operator = created.out().trim()
  const running = server([], { GUESTDECK_QEMU: qemu, ...env })
  const port = await ready(running)
  const ask = (method: string, path: string, body?: unknown, secret = admin) =>
    send(port, method, API_BASE + path, {
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
  const guest = await ask('POST', '/vms', {
    name: 'guest',
    memoryMiB: 64,
    accelerator: 'tcg',
    firmware: 'bios',
    disks: [],
    networks: [{ mac: '52:54:00:aa:00:ff' }],
  })
  expect(guest.status, guest.text).toBe(201)
  const { id } = guest.json
  const started = await ask('POST', `/vms/${id}/start`, {})
  expect(started.status, started.text).toBe(200)
  const { pid } = started.json.live
  const files = () =>
    readdirSync(join(dir, 'd', 'vms'), { recursive: true, encoding: 'utf8' })
      .sort()
      .map((file) => [file, statSync(join(dir, 'd', 'vms', file)).size])
  const launches = () => readFileSync(calls, 'utf8').match(/^-name guest=/gm)?.length
  const view = async () => {
    const { spec, revision, pending, state } = (await ask('GET', `/vms/${id}`)).json
    return { spec, revision, pending, state }
  }
  // Its firmware goes on meanwhile: what is there, not where it was put nor in which order.
  const devices = async () => {
    const { items } = (await ask('GET', `/vms/${id}/devices`)).json as { items: { key: string; type: string }[] }
    return items.map(({ key, type }) => `${key} ${type}`).sort()
  }
  const before = { files: files(), view: await view(), devices: await devices() }
  expect(before.devices.length).toBeGreaterThan(5)
  return {
    ask,
    operator,
    id,
    pid,
    /** Nothing has been made, started or changed since. */
    async expectUntouched() {
      expect(canaries.harmed()).toEqual([])
      expect(launches()).toBe(1)
      expect(files()).toEqual(before.files)
      expect(await view()).toEqual(before.view)
      expect(await devices()).toEqual(before.devices)
      expect((await ask('GET', '/vms')).json.items).toHaveLength(1)
      expect(isRunning(pid)).toBe(true)
      expect(running.child.exitCode).toBeNull()
      expect(running.err()).not.toMatch(/unhandled rejection/)
      expect(({} as { prototype?: unknown }).prototype).toBeUndefined()
    },
    async [Symbol.asyncDispose]() {
      await ask('POST', `/vms/${id}/poweroff`, {})
      if (isRunning(pid)) process.kill(pid, 'SIGKILL')
    },
  }
}

type Deck = Awaited<ReturnType<typeof dashboard>>

/** Each is refused at its field: to create, to preview, and to change a guest that runs. */
async function refusedAtTheirFields(deck: Deck): Promise<void> {
  const wrong: string[] = []
  for (const { what, input, status, code, field } of attacks()) {
    for (const [method, path] of [
      ['POST', '/vms'],
      ['POST', '/vms/preview'],
      ['PATCH', `/vms/${deck.id}`],
      ['POST', `/vms/${deck.id}/preview`],
    ] as const) {
      const answer = await deck.ask(method, path, path.includes(deck.id) ? input : { name: 'attack', ...input })
      const { error } = answer.json
      const got = `${answer.status} ${error?.code} ${error?.field}`
      if (got !== `${status} ${code} ${field}`) wrong.push(`${method} ${path}: ${what}: ${got} ${error?.message}`)
    }
  }
  expect(wrong).toEqual([])
  await deck.expectUntouched()
}

/** What others have is a conflict. */
async function conflicts(deck: Deck): Promise<void> {
  const mac = await deck.ask('POST', '/vms', { name: 'second', networks: [{ mac: '52:54:00:aa:00:ff' }] })
  expect([mac.status, mac.json.error.field]).toEqual([409, 'networks.0.mac'])
  const shared = { device: 'disk', sizeGiB: 1, shared: true, serial: 'CLUSTER' }
  const twice = await deck.ask('POST', '/vms', { name: 'second', disks: [shared, shared] })
  expect([twice.status, twice.json.error.field]).toEqual([400, 'disks.1.serial'])
  await deck.expectUntouched()
  // One file under two guests only where both say so.
  const first = await deck.ask('POST', '/vms', { name: 'one', disks: [shared], networks: [] })
  expect(first.status, first.text).toBe(201)
  const larger = await deck.ask('POST', '/vms', { name: 'two', disks: [{ ...shared, sizeGiB: 2 }], networks: [] })
  expect([larger.status, larger.json.error.code, larger.json.error.field]).toEqual([409, 'conflict', 'disks.0.sizeGiB'])
}

/** Raw options that are switched off are for nobody. */
async function rawArgsOff(deck: Deck): Promise<void> {
  for (const args of rawArgs())
    for (const [method, path] of [
      ['POST', '/vms'],
      ['POST', '/vms/preview'],
      ['PATCH', `/vms/${deck.id}`],
    ] as const) {
      const { status, json } = await deck.ask(method, path, { name: 'attack', rawArgs: args })
      expect([status, json.error.code, json.error.field], `${method} ${args}`).toEqual([403, 'forbidden', 'rawArgs'])
    }
  await deck.expectUntouched()
}

/** Raw options that are switched on are for administrators, and only those that stay in the guest. */
async function rawArgsOn(deck: Deck): Promise<void> {
  for (const args of rawArgs()) {
    const refused = await deck.ask('POST', '/vms', { name: 'attack', rawArgs: args })
    expect([refused.status, refused.json.error.code], args.join(' ')).toEqual([400, 'bad_input'])
    expect(refused.json.error.field).toMatch(/^rawArgs\.\d$/)
  }
  const { status, json } = await deck.ask('POST', '/vms', { name: 'attack', rawArgs: ['-k', 'de'] }, deck.operator)
  expect([status, json.error.code, json.error.field]).toEqual([403, 'forbidden', 'rawArgs'])
  await deck.expectUntouched()
}

/** Kernels, folders, devices and bridges of the host are not for operators; administrators name allowed ones. */
async function hostIsForAdministrators(deck: Deck, shares: string): Promise<void> {
  const directKernel = (kernel: string) => ({ directKernel: { kernel, initrd: null, commandLine: '' } })
  const share = (source: string) => ({ shares: [{ tag: 't', source, driver: '9p' }] })
  for (const [field, input] of [
    ['directKernel', directKernel('/boot/vmlinuz')],
    ['shares', share(shares)],
    ['hostDevices', { hostDevices: [{ type: 'pci', address: '0000:00:00.0' }] }],
    ['networks.0.network', card({ network: 'bridge', bridge: 'br0' })],
  ] as const) {
    const { status, json } = await deck.ask('POST', '/vms', { name: 'attack', ...input }, deck.operator)
    expect([status, json.error.code, json.error.field], field).toEqual([403, 'forbidden', field])
  }
  for (const [input, status, field] of [
    [directKernel(canaries.secret), 403, 'directKernel.kernel'],
    [directKernel(join(shares, 'link/shadow')), 403, 'directKernel.kernel'],
    [share('/etc'), 403, 'shares.0.source'],
    [share(`${shares}/../secret`), 400, 'shares.0.source'],
    [share(join(shares, 'link')), 403, 'shares.0.source'],
    [share(join(shares, 'gone')), 400, 'shares.0.source'],
    [share(join(dir, 'd')), 403, 'shares.0.source'],
  ] as const) {
    const { status: got, json } = await deck.ask('POST', '/vms', { name: 'attack', ...input })
    expect([got, json.error.field], JSON.stringify(input)).toEqual([status, field])
  }
  await deck.expectUntouched()
}

test('as it is installed, hostile definitions are refused at their fields, and raw options to everybody (D01, D02, D03, D04, D05, D08, D11, N01)', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using deck = await dashboard()
  await refusedAtTheirFields(deck)
  await rawArgsOff(deck)
  await conflicts(deck)
})

test('with raw options and directories allowed, only administrators reach out of a guest, and only there (R07)', {
  timeout: TIMEOUT_MS,
}, async () => {
  const shares = join(dir, 'shares')
  mkdirSync(shares)
  symlinkSync('/etc', join(shares, 'link'))
  await using deck = await dashboard({
    GUESTDECK_ALLOW_RAW_ARGS: '1',
    GUESTDECK_SHARE_DIRS: shares,
    GUESTDECK_IMAGE_DIRS: shares,
  })
  await rawArgsOn(deck)
  await hostIsForAdministrators(deck, shares)
})
