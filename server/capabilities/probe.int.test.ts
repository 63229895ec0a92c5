import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { findExecutable } from '#server/platform/child.ts'
import { askProperties } from './ask.ts'
import { createCapabilitiesProbe } from './probe.ts'
import { askThrowaway, ThrowawayFailed } from './throwaway.ts'
import type { HostTools } from './types.ts'

const QEMU = findExecutable('qemu-system-x86_64') ?? ''
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gdc-'))
  chmodSync(dir, 0o755)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** A program that counts its starts and then is QEMU: what a package upgrade replaces. */
function wrapper(name = 'qemu'): { path: string; starts: () => number; rewrite: (note: string) => void } {
  const path = join(dir, name)
  const log = join(dir, `${name}.log`)
  const rewrite = (note: string) => {
    writeFileSync(path, `#!/bin/sh\n# ${note}\necho >>${log}\nexec ${QEMU} "$@"\n`)
    chmodSync(path, 0o755)
  }
  writeFileSync(log, '')
  rewrite('first')
  return { path, starts: () => readFileSync(log, 'utf8').length, rewrite }
}

/** A QEMU that plays the one whose OpenGL display ends it when looked at: it dies when it is asked about pvpanic. */
function fragileQemu(): string {
  const binary = join(dir, 'fragile')
  const script = join(dir, 'fragile.mjs')
  writeFileSync(
    script,
    `import { spawn } from 'node:child_process'
import { Socket } from 'node:net'
const ours = new Socket({ fd: 3 })
// QEMU must go when this is killed.
const args = ['--pdeathsig=KILL', '--', ${JSON.stringify(QEMU)}, ...process.argv.slice(2)]
const qemu = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] })
qemu.stdio[3].pipe(ours)
ours.on('data', (data) => (data.includes('"pvpanic"') ? process.exit(1) : qemu.stdio[3].write(data)))
ours.on('close', () => process.exit(1))
`,
  )
  writeFileSync(binary, `#!/bin/sh\nexec ${process.execPath} ${script} "$@"\n`)
  chmodSync(binary, 0o755)
  return binary
}

function deadLink(path: string): string {
  symlinkSync('/nowhere', path)
  return path
}

describe('probing the installed QEMU', () => {
  test('finds version, machines, devices and features', async () => {
    const found = await createCapabilitiesProbe({ binary: 'qemu-system-x86_64', cacheFile: null }).get()
    expect(found.binary).toBe(QEMU)
    expect(found.version).toMatch(/^\d+\.\d+\.\d+$/)
    expect(found.machines[0]?.isDefault).toBe(true)
    expect(found.machines.find((machine) => machine.alias === 'q35')?.name).toMatch(/^pc-q35-/)
    expect(found.types).toEqual([...found.types].sort())
    expect(found.deviceProperties['virtio-blk-pci']?.map((property) => property.name)).toContain('drive')
    expect(found.accelerators).toContain('tcg')
    expect(found.commands).toContain('query-qmp-schema')
    expect(found.events).toContain('SHUTDOWN')
    expect(found.machineProperties.q35.map((property) => property.name)).toContain('smm')
    expect(found.machineProperties.microvm.map((property) => property.name)).toContain('rtc')
    expect(found.cpuFlags.find((flag) => flag.name === 'sse2')?.tcg).toBe(true)
    expect(found.cpuModels.find((model) => model.name === 'max')?.typeName).toBe('max-x86_64-cpu')
    expect(found.microvmFirmware.bios).toMatch(/^\/.*bios-microvm\.bin$/)
    expect(found.tools.ip?.path).toMatch(/\/ip$/)
  })

  test('asks once however many want to know, and not again', async () => {
    const { path, starts } = wrapper()
    const probe = createCapabilitiesProbe({ binary: path, cacheFile: null })
    await createCapabilitiesProbe({ binary: path, cacheFile: null }).get()
    const once = starts()
    const [a, b] = await Promise.all([probe.get(), probe.get()])
    expect(a).toBe(b)
    expect(await probe.get()).toBe(a)
    expect(starts()).toBe(2 * once)
  })

  test('remembers in a file, private to us, and asks again when QEMU was upgraded', async () => {
    const { path, starts, rewrite } = wrapper()
    const cacheFile = join(dir, 'capabilities.json')
    const fresh = () => createCapabilitiesProbe({ binary: path, cacheFile }).get()
    const first = await fresh()
    const once = starts()
    expect(await fresh()).toEqual(first)
    expect(starts()).toBe(once)
    expect(statSync(cacheFile).mode & 0o777).toBe(0o600)
    const running = createCapabilitiesProbe({ binary: path, cacheFile })
    await running.get()
    rewrite('second, longer')
    expect(await running.get()).toEqual(first)
    expect(starts()).toBe(2 * once)
  })

  test('a damaged cache is asked over and replaced', async () => {
    const cacheFile = join(dir, 'capabilities.json')
    const probe = () => createCapabilitiesProbe({ binary: QEMU, cacheFile }).get()
    const first = await probe()
    for (const damage of ['{"key":', '[]', '{"key":"x","capabilities":{}}']) {
      writeFileSync(cacheFile, damage)
      expect(await probe()).toEqual(first)
      expect(JSON.parse(readFileSync(cacheFile, 'utf8'))).toHaveProperty('capabilities.version', first.version)
    }
  })

  test('programs that came meanwhile are noticed, and nobody waits for that but the first', async () => {
    const none = { swtpm: null, swtpmSetup: null, virtiofsd: null, ip: null, tc: null, taskset: null }
    let answer = Promise.resolve<HostTools>(none)
    const probe = createCapabilitiesProbe({
      binary: QEMU,
      cacheFile: null,
      findTools: () => answer,
      toolsAgeMs: 0,
    })
    const first = await probe.get()
    expect(first.tools).toEqual(none)
    const slow = Promise.withResolvers<HostTools>()
    answer = slow.promise
    expect(await probe.get()).toBe(first)
    slow.resolve({ ...none, ip: { path: '/sbin/ip', version: '6.1' } })
    await expect.poll(async () => (await probe.get()).tools.ip?.version).toBe('6.1')
  })

  test('a type nobody asked about before is looked at once, whoever wants to know', async () => {
    const { path, starts } = wrapper()
    const probe = createCapabilitiesProbe({ binary: path, cacheFile: null })
    await probe.get()
    const before = starts()
    const [a, b] = await Promise.all([probe.properties('sdhci-pci'), probe.properties('sdhci-pci')])
    expect(a?.map((property) => property.name)).toContain('addr')
    expect(b).toBe(a)
    expect([(await probe.properties('e1000')) === null, await probe.properties('nonsense')]).toEqual([false, null])
    expect(starts()).toBe(before + 1)
  })

  test('a caller that gives up does not take the others’ answer away', async () => {
    const { path } = wrapper()
    const probe = createCapabilitiesProbe({ binary: path, cacheFile: null })
    const controller = new AbortController()
    const impatient = probe.get({ signal: controller.signal })
    const patient = probe.get()
    controller.abort(new Error('gave up'))
    await expect(impatient).rejects.toThrow('gave up')
    expect((await patient).accelerators).toContain('tcg')
  })
})

describe('a QEMU that cannot be asked', () => {
  test.each([
    ['is missing', () => join(dir, 'nothing')],
    ['is a directory', () => dir],
    ['is a dead link', () => deadLink(join(dir, 'link'))],
  ])('because it %s is reported as missing, with what to do', async (_why, path) => {
    const failure = await createCapabilitiesProbe({ binary: path(), cacheFile: null })
      .get()
      .catch((e: unknown) => e)
    expect(failure).toBeInstanceOf(EngineError)
    expect(failure).toMatchObject({ code: 'launch_failed', details: { missing: 'qemu' } })
    expect(String(failure)).toMatch(/Install it/)
    expect(String(failure)).not.toContain(dir)
  })

  test('because it is another program is reported as broken, and asked again next time', async () => {
    const path = join(dir, 'qemu')
    copyFileSync(findExecutable('true') ?? '', path)
    const probe = createCapabilitiesProbe({ binary: path, cacheFile: join(dir, 'cache') })
    await expect(probe.get()).rejects.toMatchObject({ code: 'launch_failed', details: undefined })
    wrapper().rewrite('mended')
    expect((await probe.get()).accelerators).toContain('tcg')
  })
})

describe('a throw-away QEMU', () => {
  const options = { binary: QEMU, accelerator: 'tcg', user: null, timeoutMs: 5000 } as const

  test('is gone when the question is answered, or failed', async () => {
    const binary = join(dir, 'tells-its-pid')
    const pidFile = join(dir, 'pid')
    writeFileSync(binary, `#!/bin/sh\necho $$ >${pidFile}\nexec ${QEMU} "$@"\n`)
    chmodSync(binary, 0o755)
    const isRunning = () => existsSync(`/proc/${readFileSync(pidFile, 'utf8').trim()}`)
    const answer = await askThrowaway({ ...options, binary }, async (qmp) => {
      expect(isRunning()).toBe(true)
      return qmp.execute('query-name')
    })
    expect([answer, isRunning()]).toEqual([{}, false])
    const failing = askThrowaway({ ...options, binary }, () => Promise.reject(new Error('enough')))
    await expect(failing).rejects.toThrow('enough')
    expect(isRunning()).toBe(false)
  })

  test('that ends by itself says how and why', async () => {
    const failure = await askThrowaway(
      { ...options, accelerator: 'kvm', binary: findExecutable('false') ?? '' },
      async () => {},
    ).catch((e: unknown) => e)
    expect(failure).toBeInstanceOf(ThrowawayFailed)
    expect(String(failure)).toMatch(/exit status 1/)
  })

  test('that a device ends when it is looked at loses that device alone', async () => {
    const binary = fragileQemu()
    const types = ['e1000', 'pvpanic', 'no-such-device', 'nvme']
    const questions = types.map((type) => ({ command: 'device-list-properties', type }) as const)
    expect(Object.keys(await askProperties({ ...options, binary }, questions)).sort()).toEqual(['e1000', 'nvme'])
  })

  test('that hangs is ended at its deadline', async () => {
    const path = join(dir, 'hang')
    writeFileSync(path, '#!/bin/sh\nexec sleep 60\n')
    chmodSync(path, 0o755)
    const started = performance.now()
    await expect(askThrowaway({ ...options, binary: path, timeoutMs: 100 }, async () => {})).rejects.toThrow(
      /did not answer|greet/,
    )
    expect(performance.now() - started).toBeLessThan(3000)
  })
})
