/** The compiled command line against the installed QEMU: it must start, and have exactly the devices it promises. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { compile, flattenArgv } from './compile.ts'
import { normalizeSpec } from './normalize.ts'
import { capabilitiesOf, compileInput, factsFor, ISO_ID, VM_ID } from './test-support.ts'
import type { CompileInput } from './types.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const capabilities = capabilitiesOf('7.2')
const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

type Answer = Record<string, unknown> & Record<string, unknown>[]
type Query = (execute: string, args?: object) => Promise<Answer>

/** A minimal QMP client: enough for questions, one at a time. */
async function connectQmp(path: string): Promise<Query> {
  const socket = createConnection(path)
  await once(socket, 'connect')
  cleanups.push(() => {
    socket.destroy()
  })
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  const next = async (): Promise<Record<string, unknown>> => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done === true) throw new Error('QEMU closed the monitor')
      const message = JSON.parse(value)
      if (!('event' in message)) return message
    }
  }
  await next()
  const query: Query = async (execute, args = {}) => {
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    const answer = await next()
    if (answer.error !== undefined) throw new Error(`${execute}: ${JSON.stringify(answer.error)}`)
    return answer.return as Awaited<ReturnType<Query>>
  }
  await query('qmp_capabilities')
  return query
}

/** Creates the files a spec needs in a directory of its own, compiles it and starts it stopped (`-S`). */
async function launch(spec: object, directoryName = 'v') {
  const root = mkdtempSync(join(tmpdir(), 'gd-'))
  cleanups.push(() => rmSync(root, { recursive: true, force: true }))
  chmodSync(root, 0o755)
  const dir = join(root, directoryName)
  const complete = normalizeSpec(VmSpecInput.parse({ name: 'demo', ...spec }), factsFor(capabilities))
  const made = compileInput(complete, capabilities, {
    runDir: join(dir, 'run'),
    dataDir: join(dir, 'data'),
    user: isRoot ? { uid: NOBODY, gid: NOBODY, groups: [] } : null,
  })
  // `/bin/mkdir -p` with the owner's umask keeps the tree as the dashboard would make it.
  execFileSync('/bin/mkdir', [
    '-p',
    join(dir, 'run', VM_ID),
    join(dir, 'data', 'vms', VM_ID),
    join(dir, 'data', 'images'),
  ])
  const own = (path: string) => {
    if (isRoot) chownSync(path, NOBODY, NOBODY)
  }
  for (const path of [join(dir, 'run', VM_ID), join(dir, 'data', 'vms', VM_ID)]) own(path)
  for (const { chain } of made.drives)
    for (const { path, format } of chain) {
      execFileSync('qemu-img', ['create', '-q', '-f', format, '--', path, '64M'])
      own(path)
    }
  if (complete.firmware === 'uefi' && capabilities.uefi !== null) {
    const { vars, format } = capabilities.uefi
    execFileSync('qemu-img', ['convert', '-f', format, '-O', 'qcow2', '--', vars, made.paths.nvram])
    own(made.paths.nvram)
  }
  const input: CompileInput = made
  const result = compile(input)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  const { file, args } = flattenArgv(result.plan)
  const child = spawn(file, args, {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', NODE_ENV: 'test' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const exited = once(child, 'exit')
  cleanups.push(async () => {
    child.kill('SIGKILL')
    await exited
  })
  for (let waited = 0; !existsSync(input.paths.qmp); waited += 10) {
    if (child.exitCode !== null || waited > 20_000) throw new Error(`QEMU did not start: ${stderr}`)
    await sleep(10)
  }
  const query = await connectQmp(input.paths.qmp).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${stderr}`)
  })
  return { query, pid: child.pid ?? 0, input, stderr: () => stderr, exited }
}

const everything = [
  { device: 'disk' as const },
  { device: 'cdrom' as const, image: ISO_ID },
  { device: 'cdrom' as const },
]

describe('a compiled command line on the installed QEMU', () => {
  const specs: [title: string, spec: object][] = [
    ['BIOS, virtio-vga, disk, CD with and without medium', { guest: 'linux', disks: everything }],
    ['UEFI, standard VGA', { firmware: 'uefi', display: 'std', disks: everything }],
    ['no display', { display: 'none', usbInput: false, disks: [{ device: 'disk' }] }],
    [
      'nothing optional at all',
      {
        usbInput: false,
        serial: false,
        rng: false,
        balloon: false,
        agentChannel: false,
        spareRootPorts: 0,
        networks: [],
      },
    ],
    [
      'thirty devices and every port in use',
      {
        disks: Array.from({ length: 24 }, () => ({ device: 'disk' })),
        networks: Array.from({ length: 8 }, () => ({ restrict: true })),
        spareRootPorts: 16,
      },
    ],
    ['a named CPU model and three CPUs', { cpuModel: 'qemu64', cpus: 3, clock: 'localtime' }],
  ]
  it.each(specs)('starts and waits: %s', async (_, spec) => {
    const { query, stderr } = await launch(spec)
    expect(await query('query-status')).toMatchObject({ status: 'prelaunch', running: false })
    expect(stderr()).toBe('')
  })

  it('directories with commas, spaces and quotes in their names work', async () => {
    const { query } = await launch({ firmware: 'uefi', disks: everything }, `a,b 'c" =d`)
    expect(await query('query-status')).toMatchObject({ status: 'prelaunch' })
  })

  it('the guest has the devices, places and chains that were asked for', async () => {
    const { query, input } = await launch({ guest: 'linux', memoryMiB: 300, cpus: 2, disks: everything })
    expect(await query('query-uuid')).toEqual({ UUID: VM_ID })
    expect(await query('query-memory-size-summary')).toMatchObject({ 'base-memory': 300 * 1024 ** 2 })
    expect(await query('query-cpus-fast')).toHaveLength(2)
    expect(await query('query-vnc')).toMatchObject({ enabled: true, family: 'unix', service: input.paths.vnc })
    const nodes = (await query('query-named-block-nodes', { flat: true })).map((node) => node['node-name'])
    expect([...nodes].sort()).toEqual(['cd0.0', 'cd0.0f', 'disk0.0', 'disk0.0f'])
    const drives = await query('query-block')
    expect(drives.map((drive) => drive.qdev)).toEqual(
      expect.arrayContaining([expect.stringContaining('disk0'), 'cd0', 'cd1']),
    )
    const ids = (await query('qom-list', { path: '/machine/peripheral' })).map((child) => child.name)
    for (const id of [
      'disk0',
      'cd0',
      'cd1',
      'net0',
      'rp0',
      'rp5',
      'video0',
      'vser0',
      'agent0',
      'rng0',
      'balloon0',
      'serial0',
      'tablet0',
    ])
      expect(ids).toContain(id)
    expect(ids).not.toContain('rp6')
    const bus = await query('query-pci')
    const slots = ((bus[0] as { devices: { slot: number; function: number }[] }).devices ?? [])
      .map((device) => `${device.slot}.${device.function}`)
      .sort()
    expect(slots).toEqual(
      [
        '0.0',
        '1.0',
        '2.0',
        '2.1',
        '2.2',
        '2.3',
        '2.4',
        '2.5',
        '8.0',
        '9.0',
        '10.0',
        '11.0',
        '31.0',
        '31.2',
        '31.3',
      ].sort(),
    )
  })

  it('QEMU runs without rights, in the sandbox, with private sockets and no core dumps', async () => {
    const { pid, input } = await launch({ disks: everything })
    const status = Object.fromEntries(
      readFileSync(`/proc/${pid}/status`, 'utf8')
        .split('\n')
        .map((line) => line.split(':\t'))
        .filter((parts) => parts.length === 2),
    )
    expect(status.NoNewPrivs).toBe('1')
    expect(status.Seccomp).toBe('2')
    expect(status.CapEff).toBe('0000000000000000')
    expect(status.Umask).toBe('0007')
    if (isRoot) {
      expect(status.Uid).toBe(`${NOBODY}\t${NOBODY}\t${NOBODY}\t${NOBODY}`)
      expect(status.CapBnd).toBe('0000000000000000')
    }
    const limits = readFileSync(`/proc/${pid}/limits`, 'utf8')
    expect(limits).toMatch(/Max core file size +0 +0/)
    expect(limits).toMatch(/Max open files +8192 +8192/)
    for (const path of [input.paths.qmp, input.paths.qmpRescue, input.paths.vnc, input.paths.serial, input.paths.agent])
      expect(statSync(path).mode & 0o007, path).toBe(0)
    expect(
      readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .filter(Boolean)
        .map((v) => v.split('=')[0])
        .sort(),
    ).toEqual(expect.not.arrayContaining(['HOME', 'USER']))
  })

  it('a second monitor is there for rescue', async () => {
    const { input } = await launch({})
    const rescue = await connectQmp(input.paths.qmpRescue)
    expect(await rescue('query-status')).toMatchObject({ status: 'prelaunch' })
  })

  it('without a display the firmware writes to the serial console', async () => {
    const { query, input } = await launch({
      display: 'none',
      usbInput: false,
      cpuModel: 'qemu64',
      memoryMiB: 64,
      networks: [],
    })
    const serial = createConnection(input.paths.serial)
    await once(serial, 'connect')
    cleanups.push(() => {
      serial.destroy()
    })
    let text = ''
    serial.on('data', (chunk) => {
      text += chunk
    })
    await query('cont')
    for (let waited = 0; !text.includes('SeaBIOS') && waited < 30_000; waited += 50) await sleep(50)
    expect(text).toContain('SeaBIOS')
  })
})
