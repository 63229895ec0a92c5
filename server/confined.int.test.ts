/** A dashboard that is not root: its guests are locked in by bubblewrap, looked at from outside by root. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ensureGuestIso } from '#e2e/guests/build.ts'
import type { Host } from '#lib/schema/host.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { dir, isRunning, PASSWORD } from '#server/testing/process-rig.ts'

const ROOT = join(import.meta.dirname, '..')
const UID = 60_123
const PATIENCE_MS = 120_000

/** Whether an ordinary user may make the namespaces here, and read what is to be run. */
function isPossible(): boolean {
  if (process.getuid?.() !== 0) return false
  try {
    execFileSync('test', ['-r', join(ROOT, 'server/main.ts')], { uid: UID, gid: UID })
    execFileSync('bwrap', ['--unshare-all', '--ro-bind', '/', '/', 'true'], { uid: UID, gid: UID, stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

let child: ChildProcess | undefined
afterEach(() => child?.kill('SIGKILL'))

function asUser(program: string, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [join(ROOT, program), ...args], {
    uid: UID,
    gid: UID,
    env: {
      ...{ PATH: process.env.PATH, NODE_ENV: 'test', GUESTDECK_ACCEL: 'tcg', HOME: join(dir, 'home') },
      ...{ GUESTDECK_RUN: join(dir, 'r'), GUESTDECK_DATA: join(dir, 'd') },
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

async function said(program: string, args: readonly string[], input: string): Promise<string> {
  const asked = asUser(program, args)
  let out = ''
  asked.stdout?.on('data', (chunk) => {
    out += chunk
  })
  asked.stdin?.end(input)
  expect(await new Promise((resolve) => asked.once('close', resolve))).toBe(0)
  return out.trim()
}

async function serve(): Promise<number> {
  const started = asUser('server/main.ts', ['--api-only', '--port', '0'])
  child = started
  let out = ''
  let err = ''
  started.stdout?.on('data', (chunk) => {
    out += chunk
  })
  started.stderr?.on('data', (chunk) => {
    err += chunk
  })
  await expect.poll(() => out, { timeout: PATIENCE_MS, message: err }).toContain('ready at http://127.0.0.1:')
  return Number(/127\.0\.0\.1:(\d+)/.exec(out)?.[1])
}

test.skipIf(!isPossible())(
  'without root QEMU sees its own files and no other VM’s, takes devices while it runs, and is found again after kill -9',
  async () => {
    chownSync(dir, UID, UID)
    chmodSync(dir, 0o700)
    await said('cli/guestdeck.mjs', ['user', 'add', 'ann', '--role', 'admin', '--password-stdin'], `${PASSWORD}\n`)
    const token = await said('cli/guestdeck.mjs', ['token', 'create', '--user', 'ann', '--label', 'test'], '')
    let port = await serve()
    const ask = async <T>(method: string, path: string, body?: object | Buffer): Promise<T> => {
      const type = Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json'
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': type }) },
        ...(body && { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
      })
      const text = await answer.text()
      expect(answer.ok, `${method} ${path}: ${text}`).toBe(true)
      // Of the contract's shape.
      return JSON.parse(text) as T
    }
    const done = async (job: Job) =>
      await expect
        .poll(async () => await ask<Job>('GET', `/jobs/${job.id}`), { timeout: PATIENCE_MS })
        .toMatchObject({ state: 'done' })

    expect((await ask<Host>('GET', '/host')).isolation).toMatchObject({
      privileged: false,
      summary: expect.stringContaining('locked in by bubblewrap'),
    })
    const iso = readFileSync(await ensureGuestIso('cloud'))
    const image = await ask<Image>('POST', '/images/upload?name=live.iso', iso)
    const disk = { device: 'disk', sizeGiB: 1 }
    const cd = { device: 'cdrom', id: 'cd0', image: image.id }
    const other = await ask<Vm>('POST', '/vms', { name: 'other', memoryMiB: 64, firmware: 'bios', disks: [disk] })
    const { id, spec } = await ask<Vm>('POST', '/vms', {
      ...{ name: 'mine', memoryMiB: 256, firmware: 'bios', disks: [disk, cd] },
    })
    const { live } = await ask<Vm>('POST', `/vms/${id}/start`)
    const pid = live?.pid ?? 0
    expect(live).toMatchObject({ uid: UID, confinement: 'bubblewrap' })
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toMatch(/^[^\0]*qemu-system/)

    // As root, through its own root directory.
    const sees = (path: string) => existsSync(`/proc/${pid}/root${path}`)
    const data = join(dir, 'd')
    for (const path of [`${data}/vms/${id}`, `${data}/images/${image.id}`, join(dir, 'r', id), '/usr/bin'])
      expect(sees(path), path).toBe(true)
    for (const path of [`${data}/state.db`, `${data}/seal.key`, `${data}/vms/${other.id}`, `${data}/uploads`])
      expect(sees(path), path).toBe(false)
    for (const path of [
      '/root',
      '/home',
      '/etc/passwd',
      '/proc/1',
      join(dir, 'r', other.id),
      join(ROOT, 'package.json'),
    ])
      expect(sees(path), path).toBe(false)
    const mountinfo = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    const images = mountinfo.split('\n').filter((line) => line.includes(` ${data}/images `))
    expect(images).toEqual([expect.stringMatching(/ ro,/)])
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    for (const line of [/^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m, /^CapEff:\t0+$/m, /^NSpid:\t\d+\t\d+/m])
      expect(status).toMatch(line)

    // It boots, and its agent answers.
    await expect
      .poll(async () => (await ask<Vm>('GET', `/vms/${id}`)).live?.agent, { timeout: PATIENCE_MS, interval: 500 })
      .toBe(true)
    // A disk comes, the CD goes and comes back, a snapshot of the disks is taken: files that were not there at the start.
    const plugged = await ask<Vm>('PATCH', `/vms/${id}`, { disks: [...spec.disks, { ...disk, bus: 'virtio-blk' }] })
    expect(plugged.pending).toEqual([])
    const without = plugged.spec.disks.map((drive) => (drive.device === 'cdrom' ? { ...drive, image: null } : drive))
    expect((await ask<Vm>('PATCH', `/vms/${id}`, { disks: without })).pending).toEqual([])
    expect((await ask<Vm>('PATCH', `/vms/${id}`, { disks: plugged.spec.disks })).pending).toEqual([])
    await done(await ask<Job>('POST', `/vms/${id}/snapshots`, { name: 'one', kind: 'disk' }))
    expect(readdirSync(join(data, 'layers')).length).toBeGreaterThan(0)
    await done(await ask<Job>('POST', `/vms/${id}/backups`, {}))

    const ended = new Promise((resolve) => child?.once('close', resolve))
    child?.kill('SIGKILL')
    await ended
    expect(isRunning(pid)).toBe(true)
    port = await serve()
    const found = await ask<Vm>('GET', `/vms/${id}`)
    expect(found).toMatchObject({ state: 'running', live: { pid, confinement: 'bubblewrap' } })
    expect((await ask<Vm>('POST', `/vms/${id}/pause`)).state).toBe('paused')
    expect((await ask<Vm>('POST', `/vms/${id}/poweroff`)).state).toBe('off')
    expect(isRunning(pid)).toBe(false)
    // Nor is bubblewrap left, which waited for it.
    const left = () =>
      readdirSync('/proc').filter((name) => {
        try {
          return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(id)
        } catch {
          return false
        }
      })
    await expect.poll(left, { timeout: 20_000 }).toEqual([])
  },
  2 * PATIENCE_MS,
)
