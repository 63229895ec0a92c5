/**
 * "Boot it and show the screen": a machine as the backup's definition says, over the backup's files, which are only read.
 * It has no network, no share, no device of the host; what it writes goes to an overlay that is thrown away. It runs
 * locked in, seeing its own files and nothing else, and dies with the dashboard; its sockets lie in its own /tmp.
 */
import { createHash } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { spawnJailed } from '#server/backup/block-tool.ts'
import type { StoredBackup } from '#server/backup/catalog.ts'
import { inspectNvram } from '#server/backup/files.ts'
import { diskFilesOf } from '#server/backup/read.ts'
import { readLaunchHost } from '#server/host/launch-facts.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import { readPlainFile } from '#server/platform/fs.ts'
import { attachQmp } from '#server/qmp/client.ts'
import type { QmpClient } from '#server/qmp/types.ts'
import { compile } from '#server/spec/compile.ts'
import type { ResolvedDrive } from '#server/spec/types.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import { findProgram } from '#server/storage/sandbox.ts'
import type { CapabilitySource } from './deps.ts'
import { EngineError } from './errors.ts'

export interface Proof {
  /** The screen; null: it has none. */
  readonly png: Buffer | null
  /** Sentence for people. */
  readonly message: string
}

export interface Prover {
  /**
   * @param chain from the backup down to its full one
   * @throws EngineError launch_failed, image_refused …; the signal's reason. Nothing of it remains.
   */
  boot(
    backup: StoredBackup,
    chain: readonly StoredBackup[],
    waitSeconds: number,
    context: Pick<JobContext, 'signal' | 'step'>,
  ): Promise<Proof>
  /** Removes what a crash left. Call once. */
  sweep(): Promise<void>
}

export interface ProverDeps {
  readonly data: DataPaths
  readonly qemuImg: QemuImg
  readonly capabilities: CapabilitySource
}

const START_MS = 60_000
const LOOK_MS = 1500
/** A picture that has not changed for so long is what there is to see. */
const STABLE_MS = 8000
const PNG_MAX_BYTES = 16 * 2 ** 20

/** The machine without anything that reaches out of it. */
function isolated(spec: VmSpec, devices: ReadonlySet<string>): VmSpec {
  return {
    ...spec,
    networks: [],
    shares: [],
    hostDevices: [],
    vsock: null,
    rawArgs: [],
    properties: {},
    directKernel: null,
    tpm: 'none',
    accelerator: 'tcg',
    pinning: [],
    hugePages: 'none',
    display: spec.display === 'none' ? 'std' : spec.display,
    disks: spec.disks.flatMap((drive): VmSpec['disks'] => {
      if (drive.device === 'cdrom') return [{ ...drive, image: null, seed: null }]
      return devices.has(drive.id) ? [{ ...drive, image: null, cache: 'unsafe', aio: 'threads', throttle: null }] : []
    }),
  }
}

export function createProver(deps: ProverDeps): Prover {
  const { data, qemuImg } = deps

  /** @throws EngineError bad_input … when this host cannot make such a machine */
  const argvOf = async (
    backup: StoredBackup,
    disks: Awaited<ReturnType<typeof diskFilesOf>>,
    scratch: string,
    nvram: string,
  ): Promise<{ binary: string; args: string[] }> => {
    const parsed = StoredVmSpec.safeParse(backup.manifest.spec)
    if (!parsed.success)
      throw new EngineError('image_refused', 'The definition in this backup cannot be read, so it cannot be started.')
    const spec: VmSpec = isolated(parsed.data, new Set(disks.map(({ device }) => device)))
    const drives = spec.disks.map((drive): ResolvedDrive => {
      const disk = disks.find(({ device }) => device === drive.id)
      if (drive.device === 'cdrom' || disk === undefined) return { id: drive.id, chain: [] }
      return {
        id: drive.id,
        chain: [
          { path: overlay(scratch, drive.id), format: 'qcow2', readOnly: false },
          ...disk.files.map((file) => ({ ...file, readOnly: true })),
        ],
      }
    })
    const inJail = (name: string) => `/tmp/${name}`
    const result = compile({
      vmId: backup.id,
      spec,
      capabilities: await deps.capabilities.current(),
      // The jail has no /dev/kvm: it does not matter how fast it shows its screen.
      accelerator: { kind: 'tcg', reason: 'A backup is tried under software emulation.' },
      paths: {
        dir: '/tmp',
        data: '/tmp',
        pidfile: inJail('pid'),
        qmp: inJail('qmp.sock'),
        qmpRescue: inJail('qmp2.sock'),
        vnc: inJail('vnc.sock'),
        serial: inJail('ser.sock'),
        agent: inJail('qga.sock'),
        nvram,
      },
      drives,
      user: null,
      tools: { setpriv: null, prlimit: findProgram('prlimit'), swtpm: null, virtiofsd: null },
      startSeconds: Math.floor(Date.now() / 1000),
      host: readLaunchHost(null),
      nvram: backup.manifest.nvram === null ? null : { secureBoot: backup.manifest.nvram.secureBoot },
    })
    if (!result.ok)
      throw new EngineError('launch_failed', result.problems[0]?.message ?? 'This machine cannot be started here.')
    return { binary: result.plan.binary, args: result.plan.options.flatMap(({ argv }) => argv) }
  }

  return {
    async boot(backup, chain, waitSeconds, { signal, step }) {
      const scratch = data.proof(backup.id)
      await using undo = new AsyncDisposableStack()
      await mkdir(data.proofsDir, { recursive: true, mode: 0o700 })
      // Of a run of the dashboard that was killed.
      await rm(scratch, { recursive: true, force: true })
      await mkdir(scratch, { mode: 0o700 })
      undo.defer(() => rm(scratch, { recursive: true, force: true }))
      const disks = await diskFilesOf(chain)
      for (const { device, virtualSizeBytes } of disks)
        await qemuImg.createBlank(overlay(scratch, device), virtualSizeBytes, { signal })
      const nvram = join(scratch, 'nvram.qcow2')
      if (backup.manifest.nvram !== null) {
        const path = join(backup.dir, backup.manifest.nvram.file)
        await inspectNvram(path, backup.manifest.nvram.file)
        await qemuImg.convertToQcow2(path, 'qcow2', nvram, { signal })
      }
      const { binary, args } = await argvOf(backup, disks, scratch, nvram)
      const monitor = ['-chardev', 'socket,id=proof0,fd=3', '-mon', 'chardev=proof0,mode=control']
      const child = await spawnJailed(binary, [...args, ...monitor], {
        readable: disks.flatMap(({ files }) => files.map(({ path }) => path)),
        writable: [scratch],
      })
      undo.defer(async () => {
        child.kill()
        child.socket.destroy()
        await child.exited
      })
      const gone = new AbortController()
      void child.exited.then(() => gone.abort())
      let qmp: QmpClient
      try {
        qmp = await attachQmp(child.socket, { timeoutMs: START_MS, signal: AbortSignal.any([signal, gone.signal]) })
        await qmp.execute('cont', undefined, { timeoutMs: START_MS })
      } catch (error) {
        signal.throwIfAborted()
        const said = child.stderr().trim().split('\n').at(-1) ?? ''
        throw new EngineError(
          'launch_failed',
          'QEMU did not start the restored machine; the server’s log has its words.',
          {
            cause: new Error(said.slice(0, 1000), { cause: error }),
          },
        )
      }
      undo.defer(async () => qmp.close())
      step('Watching its screen')
      const png = await watchScreen(qmp, join(scratch, 'screen.png'), waitSeconds, signal)
      return png === null
        ? { png, message: 'It was started in isolation, and ended or showed nothing.' }
        : { png, message: 'It was started in isolation; the picture shows its screen.' }
    },
    async sweep() {
      await rm(data.proofsDir, { recursive: true, force: true })
    },
  }
}

const overlay = (scratch: string, device: string) => join(scratch, `${device}.qcow2`)

/** The screen once it stands still, or at the deadline; null when there is none. */
async function watchScreen(
  qmp: QmpClient,
  path: string,
  waitSeconds: number,
  signal: AbortSignal,
): Promise<Buffer | null> {
  const deadline = performance.now() + waitSeconds * 1000
  let png: Buffer | null = null
  let print = ''
  let sinceMs = performance.now()
  for (;;) {
    await sleep(LOOK_MS, null, { signal })
    if (qmp.closed) return png
    const taken = await qmp
      .execute('screendump', { filename: path, format: 'png' })
      .then(() => readPlainFile(path, PNG_MAX_BYTES))
      .catch(() => null)
    if (taken !== null) {
      const now = createHash('sha256').update(taken).digest('hex')
      if (now !== print) {
        print = now
        sinceMs = performance.now()
      }
      png = taken
    }
    const stoodStill = performance.now() - sinceMs
    if (performance.now() > deadline || (png !== null && stoodStill > Math.max(STABLE_MS, waitSeconds * 250)))
      return png
  }
}
