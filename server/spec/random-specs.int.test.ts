/**
 * Random definitions of all families together, each started for real with its CPUs stopped: what the checks let through,
 * QEMU takes. Some are the same in every run, some new in each, so that over time there are thousands; a failure names
 * the seed.
 *
 *   GUESTDECK_SPEC_SEED=7 GUESTDECK_SPEC_RUNS=5000 vitest run --project int server/spec/random-specs.int.test.ts
 *
 * tries those of one seed. Definitions name no bridge and no device of the host here, and are not run under KVM.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import { createCapabilitiesProbe } from '#server/capabilities/probe.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { readLaunchHost } from '#server/host/launch-facts.ts'
import { isListening } from '#server/platform/unix-sockets.ts'
import { connectQmp } from '#server/qmp/client.ts'
import { findProgram } from '#server/storage/sandbox.ts'
import { compilerJudge } from '#server/testing/mended-spec.ts'
import { type HostNames, validSpec } from '#server/testing/random-spec.ts'
import { compile, flattenArgv } from './compile.ts'
import { flashFor } from './devices/firmware.ts'
import { normalizeSpec } from './normalize.ts'
import { compileInput, DISK_ID, factsFor, ISO_ID } from './test-support.ts'
import type { CompileInput, LaunchPlan, LaunchTools } from './types.ts'

const { GUESTDECK_SPEC_SEED: ownSeed, GUESTDECK_SPEC_RUNS: ownRuns } = process.env
/** Seeds and how many definitions of each. */
const SAMPLES: readonly (readonly [seed: number, runs: number])[] =
  ownSeed !== undefined || ownRuns !== undefined
    ? [[Number(ownSeed ?? 20_261_124), Number(ownRuns ?? 500)]]
    : [
        [20_261_124, 80],
        [randomInt(2 ** 31), 40],
      ]
const AT_ONCE = 2
const START_TIMEOUT_MS = 60_000
/** How many of those that need a daemon get it; the others do without, to save the time. */
const WITH_DAEMONS = 12
/** Below those the kernel hands out by itself, so that hardly anything else has them. */
const FIRST_PORT = 10_000
const PORTS = 10_000

const root = mkdtempSync(join(tmpdir(), 'gr-'))
const host: HostNames = { kernel: join(root, 'kernel'), shareDir: join(root, 'share'), others: false }
const templates = { qcow2: join(root, 'blank.qcow2'), raw: join(root, 'blank.raw') }
// Without vsock: its addresses are the whole host's.
const facts = { ...readLaunchHost(null), vhostVsock: false }
const virtiofsd = '/usr/lib/qemu/virtiofsd'
const tools: LaunchTools = {
  setpriv: null,
  prlimit: null,
  swtpm: findProgram('swtpm'),
  virtiofsd: existsSync(virtiofsd) && process.getuid?.() === 0 ? { path: virtiofsd, dialect: 'c' } : null,
}
let capabilities: QemuCapabilities

beforeAll(async () => {
  capabilities = await createCapabilitiesProbe({
    binary: process.env.GUESTDECK_QEMU ?? 'qemu-system-x86_64',
    cacheFile: null,
  }).get()
  mkdirSync(host.shareDir)
  for (const [format, path] of Object.entries(templates))
    execFileSync('qemu-img', ['create', '-q', '-f', format, '--', path, '64M'])
  // What a loader looks for in a kernel: the magic numbers of the boot protocol (Documentation/arch/x86/boot.rst).
  const kernel = Buffer.alloc(16_384)
  kernel.writeUInt8(4, 0x1f1)
  kernel.writeUInt16LE(0xaa55, 0x1fe)
  kernel.write('HdrS', 0x202, 'latin1')
  kernel.writeUInt16LE(0x0206, 0x206)
  kernel.writeUInt8(1, 0x211)
  writeFileSync(host.kernel, kernel)
  mkdirSync(join(root, 'images'))
  copyFileSync(templates.qcow2, join(root, 'images', DISK_ID))
  copyFileSync(templates.raw, join(root, 'images', ISO_ID))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

let lastPort = 0
/** Ports of this host's own: two guests that run at once must not want the same one. */
function withPorts(input: VmSpecInput): VmSpecInput {
  return {
    ...input,
    networks: input.networks?.map((card) => ({
      ...card,
      forwards: card.forwards?.map((forward) => {
        lastPort = (lastPort + 1) % PORTS
        return { ...forward, hostPort: FIRST_PORT + lastPort }
      }),
    })),
  }
}

function inputFor(spec: VmSpec, number: number): CompileInput {
  const made = compileInput(spec, capabilities, { runDir: join(root, String(number)), dataDir: root, user: null })
  return {
    ...made,
    paths: { ...made.paths, data: `${made.paths.dir}/d`, nvram: `${made.paths.dir}/nvram` },
    // Disks of its own; images of the library are everybody's.
    drives: made.drives.map(({ id, chain }) => ({
      id,
      chain: chain.map((layer) => (layer.readOnly ? layer : { ...layer, path: `${made.paths.dir}/${id}.img` })),
    })),
    ...{ tools, host: facts },
  }
}

const flashCopies = new Map<string, string>()
function makeFiles({ spec, paths, drives }: CompileInput): void {
  mkdirSync(paths.data, { recursive: true, mode: 0o700 })
  for (const { chain } of drives)
    for (const { path, format, readOnly } of chain) if (!readOnly) copyFileSync(templates[format], path)
  const flash = flashFor(spec, capabilities)
  if (flash === null) return
  const known = flashCopies.get(flash.vars)
  const copy = known ?? join(root, `flash${flashCopies.size}`)
  if (known === undefined) {
    execFileSync('qemu-img', ['convert', '-f', flash.format, '-O', 'qcow2', '--', flash.vars, copy])
    flashCopies.set(flash.vars, copy)
  }
  copyFileSync(copy, paths.nvram)
}

function run(file: string, args: readonly string[], cleanups: AsyncDisposableStack) {
  const child = spawn(file, args, {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', NODE_ENV: 'test' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  const closed = once(child, 'close')
  cleanups.defer(async () => {
    child.kill('SIGKILL')
    await closed
  })
  return async (socket: string) => {
    const deadline = Date.now() + START_TIMEOUT_MS
    // Whose socket it is takes longer to find out than that there is one.
    while (!existsSync(socket) || !isListening(socket, child.pid ?? 0)) {
      if (child.exitCode === null && child.signalCode === null && Date.now() < deadline) await sleep(5)
      else {
        child.kill('SIGKILL')
        await closed
        throw new Error(
          `${file} did not start (${child.exitCode ?? child.signalCode}): ${text.replaceAll(/^.*warning: .*\n/gm, '')}`,
        )
      }
    }
  }
}

/** @throws Error with what QEMU said when it does not take the definition */
async function start(plan: LaunchPlan, input: CompileInput): Promise<void> {
  await using cleanups = new AsyncDisposableStack()
  cleanups.defer(() => rmSync(dirname(input.paths.dir), { recursive: true, force: true }))
  makeFiles(input)
  for (const helper of plan.helpers) {
    for (const dir of helper.dirs) mkdirSync(dir, { recursive: true, mode: 0o700 })
    const [file = '', ...args] = helper.option.argv
    await run(file, args, cleanups)(helper.socket)
  }
  const { file, args } = flattenArgv(plan)
  const isUp = run(file, args, cleanups)
  await isUp(input.paths.qmp)
  // It listens before it has made its devices, and may yet give up over one.
  const qmp = await connectQmp(input.paths.qmp, { timeoutMs: START_TIMEOUT_MS }).catch(async (cause: unknown) => {
    await isUp(join(input.paths.dir, 'nowhere')).catch((error: unknown) => {
      throw new Error(String(error), { cause })
    })
    throw cause
  })
  try {
    for (const command of plan.commands) await qmp.execute(command.execute, command.arguments)
    const { status } = await qmp.execute('query-status')
    if (status !== 'prelaunch') throw new Error(`QEMU is ${status}`)
  } finally {
    qmp.close()
  }
}

/** What this host may not give, which is no matter of the definition. */
const PORT_TAKEN = /Could not set up host forwarding rule/
const NO_IO_URING = /Unable to use (?:linux )?io_uring/i
const withoutIoUring = (spec: VmSpecInput): VmSpecInput => ({
  ...spec,
  disks: spec.disks?.map((drive) =>
    drive.device === 'disk' && drive.aio === 'io_uring' ? { ...drive, aio: 'threads' as const } : drive,
  ),
})

it.each(SAMPLES)(
  'random definitions are accepted by QEMU as they are compiled (seed %i: %i)',
  async (seed, runs) => {
    const judge = compilerJudge(capabilities, (spec) => inputFor(spec, 0))
    const specs = fc.sample(validSpec(capabilities, host, judge), { seed, numRuns: runs })
    expect(specs).toHaveLength(runs)
    const failures: string[] = []
    let daemons = 0
    let next = 0
    const worker = async () => {
      for (let n = next++; n < specs.length && failures.length < 20; n = next++) {
        let spec = specs[n] as VmSpecInput
        const daemon = (spec.tpm ?? 'none') !== 'none' || spec.shares?.some(({ driver }) => driver !== '9p') === true
        if (daemon && ++daemons > WITH_DAEMONS) spec = { ...spec, tpm: 'none', shares: [] }
        for (let attempt = 0; ; attempt += 1) {
          const input = inputFor(normalizeSpec(withPorts(spec), factsFor(capabilities)), n)
          const result = compile(input)
          const problem = result.ok
            ? await start(result.plan, input).then(
                () => null,
                (error: unknown) => String(error),
              )
            : JSON.stringify(result.problems)
          if (problem === null) break
          if (attempt < 3 && PORT_TAKEN.test(problem)) continue
          if (attempt < 3 && NO_IO_URING.test(problem)) {
            spec = withoutIoUring(spec)
            continue
          }
          failures.push(`${n}: ${problem}\n${JSON.stringify(spec)}`)
          break
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    expect(failures, `GUESTDECK_SPEC_SEED=${seed} GUESTDECK_SPEC_RUNS=${runs}\n${failures.join('\n\n')}`).toEqual([])
    // Otherwise it would say little about them.
    const uses = (test: (spec: VmSpecInput) => unknown) => specs.filter((spec) => test(spec)).length
    expect(uses(({ disks }) => (disks?.length ?? 0) > 1)).toBeGreaterThan(runs / 10)
  },
  600_000,
)
