/**
 * For tests: a definition as the compiler sees it through, under the installed QEMU. Files are made, helper programs
 * started and monitor commands run as the plan says; only the supervisor is left out.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { Line } from '#e2e/guests/plain-qemu.ts'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { connectUnix } from '#server/platform/sockets.ts'
import { isListening } from '#server/platform/unix-sockets.ts'
import { connectQmp } from '#server/qmp/client.ts'
import type { QmpClient, QmpEvent } from '#server/qmp/types.ts'
import { compile, flattenArgv } from '#server/spec/compile.ts'
import { flashFor } from '#server/spec/devices/firmware.ts'
import { normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '#server/spec/test-support.ts'
import type { CompileInput, LaunchPlan } from '#server/spec/types.ts'

const START_TIMEOUT_MS = 60_000

export interface CompiledGuestOptions {
  /** Those captured of QEMU 7.2 when left out; the binary named in them is run. */
  readonly capabilities?: QemuCapabilities
  /** Files of library images by id, put in place of the made-up ones. */
  readonly images?: ReadonlyMap<string, string>
  readonly host?: Partial<CompileInput['host']>
  /** In place of those of the made-up host. */
  readonly tools?: Partial<CompileInput['tools']>
  /** TCG when left out. */
  readonly accelerator?: 'kvm' | 'tcg'
  /** Seconds since 1970 for clocks with an offset; now when left out. */
  readonly startSeconds?: number
}

export class CompiledGuest implements AsyncDisposable {
  readonly plan: LaunchPlan
  readonly input: CompileInput
  readonly qmp: QmpClient
  /** Every event so far, oldest first. */
  readonly events: readonly QmpEvent[]
  readonly serial: Line | null
  readonly #cleanups: AsyncDisposableStack
  readonly #stderr: () => string

  private constructor(parts: {
    plan: LaunchPlan
    input: CompileInput
    qmp: QmpClient
    events: readonly QmpEvent[]
    serial: Line | null
    cleanups: AsyncDisposableStack
    stderr: () => string
  }) {
    this.plan = parts.plan
    this.input = parts.input
    this.qmp = parts.qmp
    this.events = parts.events
    this.serial = parts.serial
    this.#cleanups = parts.cleanups
    this.#stderr = parts.stderr
  }

  /**
   * Completes the definition, compiles it and starts it with the CPUs stopped, the monitor commands done.
   * @throws Error with the problems, or with what QEMU wrote when it did not start
   */
  static async start(spec: object, options: CompiledGuestOptions = {}): Promise<CompiledGuest> {
    const capabilities = options.capabilities ?? capabilitiesOf('7.2')
    await using cleanups = new AsyncDisposableStack()
    const root = mkdtempSync(join(tmpdir(), 'gc-'))
    cleanups.defer(() => rmSync(root, { recursive: true, force: true }))
    const complete = normalizeSpec(VmSpecInput.parse({ name: 'test', ...spec }), factsFor(capabilities))
    const made = compileInput(complete, capabilities, {
      runDir: root,
      dataDir: join(root, 'data'),
      user: null,
      accelerator: options.accelerator ?? 'tcg',
      ...(options.host === undefined ? {} : { host: options.host }),
    })
    const input: CompileInput = {
      ...made,
      tools: { ...made.tools, ...options.tools },
      startSeconds: options.startSeconds ?? Math.floor(Date.now() / 1000),
    }
    makeFiles(input, options.images ?? new Map())
    const result = compile(input)
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    const { plan } = result
    for (const helper of plan.helpers) {
      for (const dir of helper.dirs) mkdirSync(dir, { recursive: true, mode: 0o700 })
      const [file = '', ...args] = helper.option.argv
      const { child, stderr } = run(file, args, cleanups)
      await until(() => isListening(helper.socket, child.pid ?? 0), child, stderr)
    }
    const { file, args } = flattenArgv(plan)
    const { child, stderr } = run(file, args, cleanups)
    await until(() => isListening(input.paths.qmp, child.pid ?? 0), child, stderr)
    const qmp = await connectQmp(input.paths.qmp, { timeoutMs: START_TIMEOUT_MS }).catch(async (cause: unknown) => {
      await sleep(100)
      throw new Error(`QEMU did not start: ${stderr()}`, { cause })
    })
    cleanups.defer(() => qmp.close())
    const events: QmpEvent[] = []
    qmp.onEvent((event) => events.push(event))
    for (const command of plan.commands) await qmp.execute(command.execute, command.arguments)
    // Before the guest writes, so that nothing of it is lost.
    const serial = complete.serial ? new Line(await connectUnix(input.paths.serial)) : null
    cleanups.defer(() => serial?.close())
    return new CompiledGuest({ plan, input, qmp, events, serial, cleanups: cleanups.move(), stderr })
  }

  /** Lets the CPUs run and waits for the shell of a test guest on the serial line. */
  async boot(timeoutMs?: number): Promise<GuestShell> {
    if (this.serial === null) throw new Error('the definition has no serial port')
    await this.qmp.execute('cont')
    return GuestShell.over(this.serial, timeoutMs)
  }

  /** What QEMU has written so far: its warnings. */
  get stderr(): string {
    return this.#stderr()
  }

  /** @throws Error with the events so far after `timeoutMs` */
  async event(name: string, timeoutMs = 60_000): Promise<QmpEvent> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const found = this.events.find((event) => event.event === name)
      if (found !== undefined) return found
      if (Date.now() > deadline)
        throw new Error(`no ${name} in ${timeoutMs} ms, only ${this.events.map((event) => event.event).join(', ')}`)
      await sleep(50)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#cleanups.disposeAsync()
  }
}

function makeFiles(input: CompileInput, images: ReadonlyMap<string, string>): void {
  mkdirSync(input.paths.dir, { recursive: true, mode: 0o700 })
  mkdirSync(input.paths.data, { recursive: true, mode: 0o700 })
  mkdirSync(join(input.paths.data, '../../images'), { recursive: true })
  // Last layer first: the one above is made on top of it.
  for (const { chain } of input.drives)
    for (const { path, format } of chain.toReversed()) {
      mkdirSync(dirname(path), { recursive: true })
      const image = images.get(path.slice(path.lastIndexOf('/') + 1))
      if (image !== undefined) execFileSync('cp', ['--reflink=auto', '--', image, path])
      else if (!existsSync(path)) execFileSync('qemu-img', ['create', '-q', '-f', format, '--', path, '64M'])
    }
  const flash = flashFor(input.spec, input.capabilities)
  if (flash !== null)
    execFileSync('qemu-img', ['convert', '-f', flash.format, '-O', 'qcow2', '--', flash.vars, input.paths.nvram])
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
  const exited = once(child, 'exit')
  cleanups.defer(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return { child, stderr: () => text }
}

async function until(isThere: () => boolean, child: ChildProcess, stderr: () => string): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!isThere()) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline)
      throw new Error(`${child.spawnfile} did not start: ${stderr()}`)
    await sleep(10)
  }
}
