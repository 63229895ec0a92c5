/** The physical limit of a start: spawning the very argv that Guestdeck would, up to a negotiated QMP. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandLine } from '#lib/schema/command-line.ts'
import { connectQmp } from '#server/qmp/client.ts'
import type { Deck } from './deck.ts'

export interface BareGuest {
  readonly child: ChildProcess
  quit(): Promise<void>
}

export interface BareCommand {
  readonly argv: readonly string[]
  readonly dir: string
}

/** The command line of a VM with its run directory swapped for a scratch one. */
export async function bareCommand(deck: Deck, vmId: string, scratch: string): Promise<BareCommand> {
  const line = await deck.call<CommandLine>('GET', `/vms/${vmId}/command-line`)
  const from = join(deck.runDir, vmId)
  const dir = join(scratch, vmId.slice(-12))
  const argv = [...line.wrapper.flatMap((o) => o.argv), line.binary, ...line.options.flatMap((o) => o.argv)].map(
    (part) => part.replaceAll(from, dir),
  )
  const uid = Number(/--reuid[= ](\d+)/.exec(argv.join(' '))?.[1] ?? process.getuid?.() ?? 0)
  rmSync(dir, { recursive: true, force: true })
  // QEMU's own uid must pass through the scratch directories to its own.
  mkdirSync(scratch, { recursive: true, mode: 0o711 })
  mkdirSync(dir, { mode: 0o700 })
  chownSync(dir, uid, uid)
  return { argv, dir }
}

/** Resolves when `qmp_capabilities` was answered. */
export async function spawnBare(command: BareCommand): Promise<BareGuest> {
  const [file, ...args] = command.argv
  const child = spawn(file ?? '', args, {
    stdio: 'ignore',
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', NODE_ENV: 'production' },
    detached: true,
  })
  const ended = new Promise<never>((_, reject) => {
    child.once('exit', (code, signal) => reject(new Error(`bare QEMU ended: ${code ?? signal}`)))
  })
  ended.catch(() => undefined)
  const qmp = await Promise.race([connectQmp(join(command.dir, 'qmp.sock'), { waitForSocket: true }), ended])
  return {
    child,
    quit: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      await qmp.execute('quit')
      await gone
      qmp.close()
    },
  }
}
