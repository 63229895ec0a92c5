/**
 * Cleaning up the disks of a clone that nobody has seen yet: virt-sysprep in the tool sandbox, as the clone's own user,
 * without a network. It sees no file of any guest. Each disk is lent to it over a socket, and what lies on it is opened
 * by the kernel of libguestfs's small system alone, which is a guest of its own.
 *
 *   small system made, once ─▶ disks lent ─▶ virt-sysprep ─▶ disks returned, closed and on disk
 *
 * Whatever fails in between leaves files that are thrown away with the clone.
 */
import type { CleanUpInput } from '#lib/schema/clone.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { SmallSystems } from '#server/small-system/build.ts'
import { inSmallSystem } from '#server/small-system/run.ts'
import { type CleanUpTools, findCleanUpTools } from '#server/small-system/tools.ts'
import type { ChainFile } from '#server/storage/chain-node.ts'
import type { DiskServer, LentDisk } from '#server/storage/disk-server.ts'
import type { ToolSandbox, ToolUser } from '#server/storage/sandbox.ts'
import { failureOf, stepOf, sysprepArgs } from './sysprep.ts'

export interface CleanUpDisks {
  /** Chains, top first; of each the first file is the clone's own. In the order the guest has them. */
  readonly chains: readonly (readonly ChainFile[])[]
  readonly user: ToolUser | null
}

export interface CleanUpProgress {
  readonly signal: AbortSignal
  /** What is done now, in a few words. */
  step(words: string): void
}

export interface CloneCleaner {
  /** Why it cannot be done on this host, as a sentence; null: it can. */
  obstacle(): string | null
  /** @param hostName as the guest is to call itself; null: as it did @throws EngineError; the signal's reason */
  cleanUp(disks: CleanUpDisks, wish: CleanUpInput, hostName: string | null, progress: CleanUpProgress): Promise<void>
}

export interface CleanUpDeps {
  readonly sandbox: ToolSandbox
  readonly disks: DiskServer
  readonly appliances: SmallSystems
  /** What its small system runs on for this user. */
  readonly accelerator: (
    uid: number | null,
  ) => Promise<{ readonly kind: 'kvm' | 'tcg'; readonly kvmGid: number | null }>
  /** Another look at the host in tests. */
  readonly find?: typeof findCleanUpTools
}

/** Without KVM a large SELinux guest is labelled anew at some thousand files a second. */
const DEADLINE_MS = 60 * 60_000
const MEMORY_MIB = 1024

export function createCloneCleaner(deps: CleanUpDeps): CloneCleaner {
  const { sandbox, disks, appliances } = deps
  const find = deps.find ?? findCleanUpTools
  const toolsOrThrow = (): CleanUpTools => {
    const found = find()
    if (found.tools === null) throw new EngineError('conflict', found.problem, { field: 'cleanUp' })
    return found.tools
  }

  return {
    obstacle: () => find().problem,
    async cleanUp({ chains, user }, wish, hostName, { signal, step }) {
      const tools = toolsOrThrow()
      step('preparing the system that cleans up (once)')
      const appliance = await appliances.ready(tools, signal)
      const { kind, kvmGid } = await deps.accelerator(user?.uid ?? null)
      const runUser = user === null ? null : { ...user, kvmGid }
      const lent: LentDisk[] = []
      await using undo = new AsyncDisposableStack()
      for (const chain of chains) {
        const disk = await disks.lend(chain, user, DEADLINE_MS + 60_000, signal)
        undo.use(disk)
        lent.push(disk)
      }
      step('looking for its system')
      const result = await sandbox.run({
        program: tools.sysprep,
        args: sysprepArgs(
          lent.map(({ socket }) => socket),
          wish,
          hostName,
        ),
        ...inSmallSystem({ appliance, kind, memoryMiB: MEMORY_MIB, lifeMs: DEADLINE_MS }),
        readable: [appliance, ...lent.map(({ dir }) => dir)],
        user: runUser,
        signal,
        onStdout(text) {
          const words = stepOf(text)
          if (words !== null) step(words)
        },
      })
      if (result.exitCode !== 0) throw failureOf(result, DEADLINE_MS)
      step('writing')
      for (const disk of lent) await disk.returned()
    },
  }
}
