/**
 * For tests that kill: a dashboard as a process, what is asked of it over HTTP, and the next one on the same directory.
 * It ends, or ends a guest, at a point of its work that is named (`kill-points.ts`).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import { connectQmp } from '#server/qmp/client.ts'
import type { QmpJson } from '#server/qmp/types.ts'
import { dir, isRunning, type Run, ready, server, token } from './process-rig.ts'

/** Emulation on a busy machine: only ever waited for in full when something is wrong. Milliseconds. */
const PATIENCE_MS = 180_000

export interface KillOrder {
  /** Regular expression for the point's name. */
  readonly at: string
  readonly nth?: number
  /** Left out: the dashboard itself. */
  readonly pid?: number
  readonly signal?: 'SIGSTOP'
}

export class Dashboard {
  readonly #authorization: string
  readonly #env: Record<string, string>
  readonly #pids = new Set<number>()
  #run: Run
  #port = 0

  private constructor(authorization: string, env: Record<string, string>) {
    this.#authorization = authorization
    this.#env = env
    this.#run = this.#spawn()
  }

  static async start(env: Record<string, string> = {}): Promise<Dashboard> {
    const dashboard = new Dashboard(`Bearer ${await token()}`, env)
    dashboard.#port = await ready(dashboard.#run)
    return dashboard
  }

  #spawn = (): Run => server([], { ...this.#env, GUESTDECK_TEST_KILL: this.orderFile })
  get orderFile(): string {
    return join(dir, 'kill/order.json')
  }

  /** @throws an assertion when the answer is not a good one */
  async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const { status, text } = await this.try(method, path, body)
    expect(status < 400, `${method} ${path}: ${text}`).toBe(true)
    return (text === '' ? null : JSON.parse(text)) as T
  }
  async try(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const answer = await this.send(method, path, headers, body && JSON.stringify(body))
    return { status: answer.status, text: await answer.text() }
  }
  send(method: string, path: string, headers: Record<string, string>, body?: string | Buffer): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.#port}/api/v1${path}`, {
      method,
      headers: { authorization: this.#authorization, ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : new Uint8Array(body) }),
    })
  }
  vm = (id: string) => this.ask<Vm>('GET', `/vms/${id}`)
  async items<T>(path: string): Promise<T[]> {
    return (await this.ask<{ items: T[] }>('GET', path)).items
  }

  async start(vmId: string): Promise<number> {
    const { live } = await this.ask<Vm>('POST', `/vms/${vmId}/start`)
    const pid = live?.pid ?? 0
    expect(pid).toBeGreaterThan(0)
    this.#pids.add(pid)
    return pid
  }
  async poweroff(vmId: string): Promise<void> {
    if (['off', 'crashed'].includes((await this.vm(vmId)).state)) return
    await this.ask('POST', `/vms/${vmId}/poweroff`)
    await this.reaches(vmId, 'off')
  }
  async reaches(vmId: string, state: string): Promise<void> {
    await expect.poll(async () => (await this.vm(vmId)).state, { timeout: PATIENCE_MS }).toBe(state)
  }

  /** How a job ended. */
  async end(job: Job): Promise<Job> {
    let now = job
    const endedAt = async () => {
      now = await this.ask<Job>('GET', `/jobs/${job.id}?wait=10`)
      return now.endedAt
    }
    await expect.poll(endedAt, { timeout: PATIENCE_MS }).not.toBeNull()
    return now
  }
  /** @throws an assertion when the job failed. @returns its result */
  async done(method: string, path: string, body?: object): Promise<string> {
    const job = await this.end(await this.ask<Job>(method, path, body))
    expect(job, JSON.stringify(job.error)).toMatchObject({ state: 'done' })
    return job.result ?? ''
  }

  /** Begins something during which the dashboard ends, and starts the next one. */
  async dieAt(order: Omit<KillOrder, 'pid'>, what: () => Promise<unknown>): Promise<void> {
    this.order(order)
    // The answer may never come.
    await Promise.race([what().catch(() => null), this.#run.ended])
    await expect.poll(() => existsSync(this.orderFile), this.#unmet(order)).toBe(false)
    await this.#run.ended
    await this.again()
  }
  /** Begins something during which a guest's QEMU ends. */
  async killAt(order: KillOrder & { pid: number }, what: () => Promise<unknown>): Promise<void> {
    this.order(order)
    await what()
    await expect.poll(() => existsSync(this.orderFile), this.#unmet(order)).toBe(false)
    await expect.poll(() => isRunning(order.pid), { timeout: PATIENCE_MS }).toBe(false)
  }
  /** Begins something, holds the dashboard still at a point of it, and lets it go on. */
  async holdAt(order: Omit<KillOrder, 'pid'>, what: () => Promise<unknown>, meanwhile: () => Promise<void>) {
    this.order({ ...order, signal: 'SIGSTOP' })
    // The answer may never come.
    const begun = what().catch(() => null)
    await expect.poll(() => existsSync(this.orderFile), this.#unmet(order)).toBe(false)
    try {
      await meanwhile()
    } finally {
      this.#run.child.kill('SIGCONT')
    }
    await begun
  }
  #unmet = ({ at }: KillOrder) => ({
    timeout: PATIENCE_MS,
    message: `${at} was not reached; points:\n${this.points().slice(-40).join('\n')}`,
  })
  order(order: KillOrder): void {
    writeFileSync(`${this.orderFile}.log`, '')
    writeFileSync(this.orderFile, JSON.stringify(order))
  }
  points = (): string[] => readFileSync(`${this.orderFile}.log`, 'utf8').split('\n')

  async kill(): Promise<void> {
    rmSync(this.orderFile, { force: true })
    this.#run.child.kill('SIGKILL')
    await this.#run.ended
  }
  async again(): Promise<void> {
    this.#run = this.#spawn()
    try {
      this.#port = await ready(this.#run)
    } catch (error) {
      const last = this.points().slice(-30).join('\n')
      throw new Error(`The next dashboard did not start.\n${this.#run.err()}\nIts last points:\n${last}`, {
        cause: error,
      })
    }
  }

  /** Asks a running guest's QEMU itself. */
  async qmp<T = QmpJson>(vmId: string, command: string, args?: { [key: string]: QmpJson }): Promise<T> {
    const monitor = await connectQmp(vmRunPaths(join(dir, 'r'), vmId).qmpRescue, { timeoutMs: PATIENCE_MS })
    try {
      return (await monitor.execute(command as 'query-status', args as never)) as T
    } finally {
      monitor.close()
    }
  }
  /** Writes through the running guest's own device, and to its file for good. */
  async write(vmId: string, device: string, atMiB: number, pattern: number): Promise<void> {
    for (const what of [`write -P ${pattern} ${atMiB}M 1M`, 'flush']) {
      const line = `qemu-io -d /machine/peripheral/${device}/virtio-backend "${what}"`
      expect(await this.qmp<string>(vmId, 'human-monitor-command', { 'command-line': line })).toBe('')
    }
  }
  /** Whether a running guest reads this pattern there. */
  async reads(vmId: string, device: string, atMiB: number, pattern: number): Promise<boolean> {
    const line = `qemu-io -d /machine/peripheral/${device}/virtio-backend "read -P ${pattern} ${atMiB}M 1M"`
    return !/fail/i.test(await this.qmp<string>(vmId, 'human-monitor-command', { 'command-line': line }))
  }

  /** Every guest ends with the test, whatever became of the dashboard. */
  [Symbol.dispose](): void {
    for (const pid of this.#pids) if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
}

/** Looked up in the dashboard's own store, which tests that kill must not trust the answers of. */
export function storedDocuments<T = Record<string, unknown>>(collection: string): { key: string; value: T }[] {
  const db = new DatabaseSync(join(dir, 'd/state.db'), { readOnly: true })
  try {
    return db
      .prepare('SELECT key, value FROM document WHERE collection = ?')
      .all(collection)
      .map(({ key, value }) => ({ key: String(key), value: JSON.parse(String(value)) }))
  } finally {
    db.close()
  }
}

/** File that a disk of a VM is in. */
export function fileOf(vmId: string, device: string): string {
  const volume = storedDocuments('volume').find(({ value }) => {
    const vm = value.vm as { id: string; device: string } | null
    return vm?.id === vmId && vm.device === device
  })
  const layer = storedDocuments('layer').find(({ key }) => key === volume?.value.head)
  return join(dir, 'd', String(layer?.value.file))
}

/**
 * What the disks of a VM that is off hold, a pattern for each MiB from the first on; read by way of the names written in
 * the files, as an operator would look.
 */
export function expectContent(vmId: string, devices: readonly string[], patterns: readonly number[]): void {
  for (const device of devices) {
    const path = fileOf(vmId, device)
    const commands = patterns.flatMap((pattern, at) => ['-c', `read -P ${pattern} ${at + 1}M 1M`])
    const out = execFileSync('qemu-io', ['-r', '-f', 'qcow2', ...commands, path], { encoding: 'utf8' })
    expect(out, `${device} is not ${patterns}`).not.toMatch(/failed/i)
    // Clusters that nobody refers to cost room and nothing else (3: only these were found).
    const { status, stdout } = spawnSync('qemu-img', ['check', '-f', 'qcow2', path], { encoding: 'utf8' })
    expect([0, 3], stdout).toContain(status)
  }
}
