/**
 * For tests of kills in the middle of a move: a dashboard as a process, two pools, and a real guest that writes without
 * end. Each write is numbered; once the guest's fsync has returned, its number goes to a second disk, and from then on
 * that write must never be lost.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { ensureGuestKernel, KERNEL_COMMAND_LINE } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { GuestLine } from '#e2e/support/guest-line.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Pool, Volume, VolumeDetail } from '#lib/schema/storage.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { dir, joined, type Run, ready, server, token } from './process-rig.ts'

const BLOCK = 65_536
const BLOCKS = 512
/** Numbered writes in a stride that visits every block: each holds its number again and again. */
const STRIDE = 37
const LOAD = `g=$(dd if=/dev/vdb bs=11 count=1 2>/dev/null | grep -o '[1-9][0-9]*'); while [ -e /tmp/go ]; do g=$((g+1)); yes $g | head -c ${BLOCK} | dd of=/dev/vda bs=${BLOCK} iflag=fullblock seek=$((g*${STRIDE}%${BLOCKS})) conv=notrunc,fsync 2>/dev/null || break; printf '%010d\\n' $g | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null || break; done; touch /tmp/over`
/** What lay on the disk before the guest first ran. */
const OLD = { byte: 7, atMiB: 100, MiB: 24 }

export class MoveRig {
  readonly #authorization: string
  #dashboard: Run
  #port: number
  readonly #env: Record<string, string>
  vmId = ''
  pid = 0
  pools: readonly [string, string] = ['', '']

  private constructor(authorization: string, env: Record<string, string>, dashboard: Run, port: number) {
    this.#authorization = authorization
    this.#env = env
    this.#dashboard = dashboard
    this.#port = port
  }

  static async open(): Promise<MoveRig> {
    for (const name of ['isos', 'p0', 'p1']) {
      mkdirSync(join(dir, name))
      chmodSync(join(dir, name), 0o755)
    }
    const guest = await ensureGuestKernel('cloud')
    for (const name of ['vmlinuz', 'initrd'] as const) {
      copyFileSync(guest[name], join(dir, 'isos', name))
      chmodSync(join(dir, 'isos', name), 0o644)
    }
    const env = {
      GUESTDECK_IMAGE_DIRS: join(dir, 'isos'),
      GUESTDECK_POOL_DIRS: dir,
      GUESTDECK_TEST_KILL: join(dir, 'kill/order.json'),
      NODE_OPTIONS: `--import=${joined('kill-at')}`,
    }
    const authorization = `Bearer ${await token()}`
    const dashboard = server([], env)
    const rig = new MoveRig(authorization, env, dashboard, await ready(dashboard))
    const pool = (name: string) => rig.call<Pool>('POST', '/pools', { name, path: join(dir, name), reserveBytes: 0 })
    rig.pools = [(await pool('p0')).id, (await pool('p1')).id]
    const vm = await rig.call<Vm>('POST', '/vms', {
      ...{ name: 'writer', memoryMiB: 160, cpuModel: 'qemu64', display: 'none', accelerator: 'tcg', networks: [] },
      directKernel: {
        kernel: join(dir, 'isos/vmlinuz'),
        initrd: join(dir, 'isos/initrd'),
        commandLine: KERNEL_COMMAND_LINE,
      },
      disks: [
        { id: 'a', device: 'disk', sizeGiB: 1, pool: rig.pools[0] },
        { id: 'acks', device: 'disk', sizeGiB: 1 },
      ],
    })
    rig.vmId = vm.id
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${OLD.byte} ${OLD.atMiB}M ${OLD.MiB}M`, await rig.file()])
    return rig
  }

  get headers(): Record<string, string> {
    return { authorization: this.#authorization }
  }

  get dashboard(): { url: string } {
    return { url: `http://127.0.0.1:${this.#port}` }
  }

  async call<T>(method: string, path: string, body?: object): Promise<T> {
    const answer = await fetch(`${this.dashboard.url}/api/v1${path}`, {
      method,
      headers: { ...this.headers, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    expect(answer.ok, `${method} ${path}: ${text}`).toBe(true)
    // Whatever the operation answers, which the caller names.
    return (text === '' ? null : JSON.parse(text)) as T
  }

  vm(): Promise<Vm> {
    return this.call<Vm>('GET', `/vms/${this.vmId}`)
  }

  async volume(): Promise<Volume> {
    const { items } = await this.call<{ items: Volume[] }>('GET', '/volumes')
    const found = items.find(({ vm }) => vm?.device === 'a')
    if (found === undefined) throw new Error('the disk has gone')
    return found
  }

  /** Files of the disk, by pool: exactly one when nothing is under way. */
  files(): string[] {
    return ['p0', 'p1'].flatMap((pool) =>
      readdirSync(join(dir, pool, 'layers')).map((name) => join(dir, pool, 'layers', name)),
    )
  }

  /** The one file of the disk, in the pool that is on record. */
  async file(): Promise<string> {
    const volume = await this.volume()
    const { chain } = await this.call<VolumeDetail>('GET', `/volumes/${volume.id}`)
    expect(chain).toHaveLength(1)
    const files = this.files()
    expect(files).toEqual([expect.stringContaining(`${volume.pool.name}/layers/${chain[0]?.id}`)])
    return files[0] ?? ''
  }

  /** Starts the guest and, in it, the writes. */
  async start(): Promise<void> {
    const vm = await this.call<Vm>('POST', `/vms/${this.vmId}/start`)
    this.pid = vm.live?.pid ?? 0
    const shell = await this.shell()
    await shell.output(`cat >/tmp/load <<'EOF'\n${LOAD}\nEOF\ntouch /tmp/go; (sh /tmp/load >/dev/null 2>&1 &)`)
    shell.close()
  }

  /** Ends the writes. @returns a checksum of the beginning of the disk, made inside the guest from the disk itself */
  async checksum(mib: number): Promise<string> {
    const shell = await this.shell()
    await shell.output('rm /tmp/go')
    await shell.until('ls /tmp', /over/)
    const sum = `echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M count=${mib} 2>/dev/null | sha256sum`
    const said = await shell.output(sum, 120_000)
    shell.close()
    return said.split(' ', 1)[0] ?? ''
  }

  async shell(): Promise<GuestShell> {
    return GuestShell.over(await GuestLine.open(this, this.vmId))
  }

  /** Begins a move to the pool the disk is not in. */
  async move(limitMiBps: number | null = null): Promise<Job> {
    const volume = await this.volume()
    const poolId = this.pools.find((id) => id !== volume.pool.id)
    return this.call<Job>('POST', `/volumes/${volume.id}/move`, { poolId, limitMiBps })
  }

  async end(job: Job): Promise<Job> {
    const look = () => this.call<Job>('GET', `/jobs/${job.id}`)
    await expect.poll(async () => (await look()).endedAt, { timeout: 120_000 }).not.toBeNull()
    return look()
  }

  async underWay(job: Job): Promise<void> {
    const look = () => this.call<Job>('GET', `/jobs/${job.id}`)
    await expect.poll(async () => (await look()).doneBytes ?? 0, { timeout: 120_000 }).toBeGreaterThan(0)
  }

  /** From here on, the dashboard (0) or a guest is killed in the place of this command, once. */
  killAt(command: string, ...pids: number[]): void {
    writeFileSync(this.#env.GUESTDECK_TEST_KILL ?? '', JSON.stringify({ command, pids }))
  }

  async kill(): Promise<void> {
    this.#dashboard.child.kill('SIGKILL')
    await this.killed()
  }

  /** The dashboard's end, which somebody else brings about. */
  async killed(): Promise<void> {
    await this.#dashboard.ended
  }

  async again(): Promise<void> {
    this.#dashboard = server([], this.#env)
    this.#port = await ready(this.#dashboard)
  }

  /** Numbers of writes: what was acknowledged to whoever waited for the guest's fsync. */
  async acknowledged(): Promise<number> {
    const { items } = await this.call<{ items: Volume[] }>('GET', '/volumes')
    const acks = items.find(({ vm }) => vm?.device === 'acks')
    if (acks === undefined) throw new Error('no second disk')
    const raw = this.#raw(join(dir, 'd/vms', this.vmId, 'acks.qcow2'), 1)
    return Number(raw.subarray(0, 10).toString('latin1').replaceAll('\0', '')) || 0
  }

  #raw(file: string, mib: number): Buffer {
    const to = join(dir, 'raw')
    rmSync(to, { force: true })
    const io = ['dd', '-U', '-f', 'qcow2', '-O', 'raw', 'bs=1M', `count=${mib}`]
    execFileSync('qemu-img', [...io, `if=${file}`, `of=${to}`])
    return readFileSync(to)
  }

  /** The beginning of the disk, as its file has it. */
  async first(mib: number): Promise<Buffer> {
    return this.#raw(await this.file(), mib)
  }

  /** Every acknowledged write is in the disk's one file, and what lay there before. The guest must be off. */
  async verify(): Promise<number> {
    const file = await this.file()
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', file])
    const last = await this.acknowledged()
    const raw = this.#raw(file, OLD.atMiB + OLD.MiB)
    for (let back = 0; back < Math.min(last, BLOCKS); back += 1) {
      const number = last - back
      const at = ((number * STRIDE) % BLOCKS) * BLOCK
      const block = raw.subarray(at, at + BLOCK).toString('latin1')
      const found = Number(block.slice(0, block.indexOf('\n')))
      // The one after the last may have come in its place before its number was written down.
      const isNext = found > last && (found * STRIDE) % BLOCKS === (number * STRIDE) % BLOCKS
      expect(found === number || isNext, `write ${number} of ${last}: found ${found}`).toBe(true)
      // A write that the kill cut off may be there in part, over the one before.
      if (found === number && !block.includes(`\n${last + 1}\n`))
        expect(block).toBe(`${number}\n`.repeat(BLOCK).slice(0, BLOCK))
    }
    const old = raw.subarray(OLD.atMiB * 2 ** 20)
    expect(old.equals(Buffer.alloc(OLD.MiB * 2 ** 20, OLD.byte))).toBe(true)
    return last
  }
}
