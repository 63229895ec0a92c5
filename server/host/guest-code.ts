/**
 * Runs the probe ROM (`probe.asm`) and reports how it ended. The only honest answer to "does KVM work":
 * a device that opens and a QEMU that says `running` are no proof that a single guest instruction executes.
 */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChildExit, type ChildUser, type ChildWithSocket, spawnWithSocket } from '#server/platform/child.ts'
import { attachQmp } from '#server/qmp/client.ts'
import { buildProbeRom, PROBE_EXIT } from './probe-rom.ts'
import type { GuestRun } from './verdict.ts'

/** The whole attempt, so that a verdict comes within a second. A good one takes 50 to 100 ms. */
const PROBE_TIMEOUT_MS = 900

export interface GuestCodeOptions {
  readonly binary: string
  readonly accelerator: 'kvm' | 'tcg'
  /** User to run as; null keeps ours, without capabilities. */
  readonly user: ChildUser | null
  readonly timeoutMs?: number
}

/** @throws the system error when QEMU cannot be started or the ROM cannot be written */
export async function runGuestCode(options: GuestCodeOptions): Promise<GuestRun> {
  const dir = await mkdtemp(join(tmpdir(), 'guestdeck-probe-'))
  try {
    const rom = join(dir, 'probe.rom')
    await writeFile(rom, buildProbeRom(), { mode: 0o644 })
    // QEMU may run as another user, who has to reach the ROM. There is nothing secret in it.
    await chmod(dir, 0o755)
    return await run(options, rom)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function run(options: GuestCodeOptions, rom: string): Promise<GuestRun> {
  const started = performance.now()
  const timeoutMs = options.timeoutMs ?? PROBE_TIMEOUT_MS
  const child = await spawnWithSocket(options.binary, guestArgs(options.accelerator, rom), { user: options.user })
  const deadline = Promise.withResolvers<null>()
  const timer = setTimeout(() => deadline.resolve(null), timeoutMs)
  try {
    const exited = child.exited.then((exit): Ending => ({ kind: 'exited', exit }))
    const ending = await Promise.race([exited, watchForStop(child, timeoutMs), deadline.promise])
    const ms = performance.now() - started
    if (ending === null) return { outcome: 'timeout', ms }
    if (ending.kind === 'stopped') return { outcome: 'stopped', ms, said: excerpt(child.stderr()) }
    return judgeExit(ending.exit, ms, excerpt(child.stderr()))
  } finally {
    clearTimeout(timer)
    child.kill()
    child.socket.destroy()
    await child.exited
  }
}

type Ending = { readonly kind: 'exited'; readonly exit: ChildExit } | { readonly kind: 'stopped' }

/**
 * Resolves when QEMU stops the guest: all KVM does when it cannot go on is a STOP event and run state `internal-error`,
 * the process stays. Never resolves otherwise; a connection that breaks means that QEMU ends, which others watch.
 */
function watchForStop(child: ChildWithSocket, timeoutMs: number): Promise<Ending> {
  return new Promise((resolve) => {
    const watch = async () => {
      const qmp = await attachQmp(child.socket, { timeoutMs })
      const events = qmp.events(['STOP'])
      // It may have stopped before anyone listened.
      const status = await qmp.execute('query-status')
      const isStopped =
        typeof status === 'object' && status !== null && !Array.isArray(status) && status.status === 'internal-error'
      if (!isStopped) await events.waitFor(() => true, { timeoutMs })
      resolve({ kind: 'stopped' })
    }
    watch().catch(() => {})
  })
}

function judgeExit(exit: ChildExit, ms: number, said: string): GuestRun {
  if (exit.code === PROBE_EXIT.good) return { outcome: 'ran', ms }
  if (exit.code === PROBE_EXIT.wrong) return { outcome: 'wrong', ms }
  const how =
    exit.signal !== null ? `signal ${exit.signal}` : exit.code === 0 ? 'the guest faulted' : `exit status ${exit.code}`
  return { outcome: 'ended', ms, how, said }
}

/** QEMU's first complaint, without its own name before it. Later lines are register dumps. */
function excerpt(stderr: string): string {
  const line = stderr.split('\n').find((text) => text.trim() !== '' && !text.includes('warning:')) ?? ''
  return line.replace(/^\S*qemu\S*:\s*/, '').slice(0, 160)
}

function guestArgs(accelerator: 'kvm' | 'tcg', rom: string): string[] {
  return [
    ...['-machine', 'q35'],
    ...['-accel', accelerator],
    ...['-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    ...['-m', '16'],
    ...['-nodefaults', '-no-user-config', '-no-reboot'],
    ...['-display', 'none'],
    ...['-bios', rom],
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ...['-chardev', 'socket,id=mon0,fd=3'],
    ...['-mon', 'chardev=mon0,mode=control'],
  ]
}
