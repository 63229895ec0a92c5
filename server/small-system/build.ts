/**
 * The small system of libguestfs's own, in which alone a guest's file systems are opened. It is made once of this
 * host's packages and kernel and kept for all; whoever runs it may read it and no more, so that no disk can leave
 * anything in it for the next. A kernel or libguestfs of another date gets another one, and the old one goes.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { readersFile, readersPassage } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { syncDir } from '#server/storage/dirs.ts'
import type { ToolSandbox } from '#server/storage/sandbox.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { SystemRecipe } from './tools.ts'

export interface SmallSystemDeps {
  readonly data: Pick<DataPaths, 'appliancesDir' | 'appliance'>
  readonly sandbox: ToolSandbox
  readonly space: SpaceLedger
  /** Group of all guests, whose users it runs as; null: they share the dashboard's user. */
  readonly readersGid: number | null
}

export interface SmallSystems {
  /** Removes what a dashboard that was killed left half made. */
  open(): Promise<void>
  /** Makes it when there is none yet. @returns its directory @throws EngineError no_space, internal; the signal's reason */
  ready(recipe: SystemRecipe, signal: AbortSignal): Promise<string>
}

const BUILD_MS = 10 * 60_000
/** Measured: 370 MiB on Debian 12 with the cloud kernel; a kernel with all drivers brings about as much again. */
const BUILD_BYTES = 2 ** 30
const FILES = ['kernel', 'initrd', 'root'] as const

export function createSmallSystems({ data, sandbox, space, readersGid }: SmallSystemDeps): SmallSystems {
  let building: Promise<string> | null = null

  const build = async (key: string, tools: SystemRecipe, signal: AbortSignal): Promise<string> => {
    const dir = data.appliance(key)
    await mkdir(data.appliancesDir, { recursive: true, mode: 0o700 })
    // Another kernel's.
    for (const name of await readdir(data.appliancesDir)) await remove(data.appliance(name))
    const room = await space.reserve(BUILD_BYTES, 'The small system that opens disks')
    const part = `${dir}.part`
    try {
      await mkdir(part, { mode: 0o700 })
      const made = join(part, 'made')
      const {
        exitCode,
        signal: killed,
        stderr,
      } = await sandbox.run({
        program: tools.supermin,
        args: ['--build', '-f', 'ext2', '--copy-kernel', '--host-cpu', 'x86_64', tools.recipe, '-o', made],
        env: {
          SUPERMIN_KERNEL: tools.kernel,
          SUPERMIN_KERNEL_VERSION: tools.kernelVersion,
          SUPERMIN_MODULES: tools.modules,
          PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
          TMPDIR: part,
          // Who owns these matters nowhere in the small system.
          TAR_OPTIONS: '--no-same-owner',
        },
        // In a namespace of ours, mount and the like would be set to run as nobody.
        inHostsView: true,
        readable: [],
        writable: [part],
        timeoutMs: BUILD_MS,
        maxFileBytes: null,
        limits: { memoryBytes: 4 * 2 ** 30, openFiles: 1024, cpuSeconds: BUILD_MS / 1000 },
        signal,
      })
      if (exitCode !== 0)
        throw new EngineError(
          'internal',
          'libguestfs could not make its small system of this host’s packages; the server’s log has what it said.',
          { cause: new Error(`supermin: exit ${exitCode ?? killed}: ${stderr.trim().slice(-2000)}`) },
        )
      // By this name libguestfs knows that it is whole, and makes none itself.
      await writeFile(join(made, 'README.fixed'), '')
      for (const name of [...FILES, 'README.fixed'])
        await rootActs().own({ path: join(made, name), as: readersFile(readersGid), sync: true })
      for (const path of [data.appliancesDir, made])
        await rootActs().own({ path, as: readersPassage(readersGid), sync: false })
      await syncDir(made)
      await rename(made, dir)
      await syncDir(data.appliancesDir)
      return dir
    } finally {
      room.release()
      await remove(part)
    }
  }

  return {
    async open() {
      const names = await readdir(data.appliancesDir).catch(() => [])
      for (const name of names) if (name.endsWith('.part')) await remove(data.appliance(name))
    },
    async ready(recipe, signal) {
      const key = await keyOf(recipe)
      const dir = data.appliance(key)
      // A build of others may be given up by them, and then it is ours to make.
      while (building !== null) {
        await building.catch(() => {})
        signal.throwIfAborted()
      }
      building = isWhole(dir).then((whole) => (whole ? dir : build(key, recipe, signal)))
      return building.finally(() => {
        building = null
      })
    },
  }
}

/** Kernel and recipe by place, size and date; libguestfs's own version goes with its recipe's date. */
async function keyOf({ kernel, kernelVersion, recipe, supermin }: SystemRecipe): Promise<string> {
  const facts = await Promise.all([kernel, recipe, join(recipe, 'packages'), supermin].map((path) => stat(path)))
  const text = JSON.stringify([kernel, kernelVersion, recipe, facts.map(({ size, mtimeMs }) => [size, mtimeMs])])
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

const isWhole = (dir: string): Promise<boolean> =>
  stat(join(dir, 'README.fixed')).then(
    () => true,
    () => false,
  )

const remove = (path: string): Promise<void> => rm(path, { recursive: true, force: true })
