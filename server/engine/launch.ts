/**
 * Definition → launch: resolves files, decides the accelerator, compiles. On the path of every start, so nothing here
 * spawns a process; it costs a handful of stats.
 */
import { existsSync } from 'node:fs'
import type { CommandLine } from '#lib/schema/command-line.ts'
import type { AcceleratorChoice, VmSpec } from '#lib/schema/vm-spec.ts'
import type { VmAccelerator } from '#lib/schema/vm-state.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { readLaunchHost } from '#server/host/launch-facts.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import { type DataPaths, vmRunPaths } from '#server/paths.ts'
import { compile } from '#server/spec/compile.ts'
import { markChanges, markWrapperChanges } from '#server/spec/explain.ts'
import { toShell } from '#server/spec/shell.ts'
import type {
  CompileInput,
  LaunchPaths,
  LaunchPlan,
  LaunchTools,
  LaunchUser,
  ResolvedDrive,
} from '#server/spec/types.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'
import type { LayerReaders } from '#server/storage/layer-readers.ts'
import { readNvramOrigin } from '#server/storage/nvram.ts'
import { findProgram } from '#server/storage/sandbox.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { PreparedLaunch, VmRuntime } from '#server/vm/types.ts'
import { decideFor } from './accelerator-choice.ts'
import type { Confine } from './confine.ts'
import type { AcceleratorSource, CapabilitySource } from './deps.ts'
import { EngineError } from './errors.ts'

export interface LaunchDeps {
  readonly data: DataPaths
  readonly runDir: string
  readonly library: ImageLibrary
  readonly volumes: Volumes
  readonly identity: GuestIdentity
  readonly layerReaders: Pick<LayerReaders, 'groups' | 'admit'>
  readonly capabilities: CapabilitySource
  readonly accelerator: AcceleratorSource
  readonly generationOf: (vmId: string) => string
  /** What a QEMU that bubblewrap locks in sees of the host besides its own; null or left out: it is not locked in. */
  readonly confine?: Confine | null
}

/** The part of a VM a launch depends on. */
interface LaunchSubject {
  readonly id: string
  readonly ownerId: string
  readonly uid: number | null
  readonly spec: VmSpec
}

export interface Launcher {
  /** @throws EngineError image_missing, accelerator_unusable, launch_failed */
  prepare(subject: LaunchSubject): Promise<PreparedLaunch>
  /**
   * What the next start would run; touches no file of the VM, so the VM need not exist.
   * @param running marks what differs from it
   * @throws EngineError bad_input naming the field that cannot be compiled
   */
  explain(subject: LaunchSubject, running: LaunchPlan | null): Promise<CommandLine>
  /** Throws what `explain` would. */
  assertCompiles(subject: LaunchSubject): Promise<void>
  /**
   * A compiler for one VM: the plan a definition would be started with, files and host as they are now.
   * @param accelerator what the running guest uses; null: as a start would choose
   * @param running plan of the running guest, whose clock is counted from the same moment
   */
  compiler(
    subject: LaunchSubject,
    accelerator: CompileInput['accelerator'] | null,
    running?: LaunchPlan | null,
  ): Promise<(spec: VmSpec) => LaunchPlan>
  /** What runs now. */
  explainRunning(runtime: VmRuntime, requested: AcceleratorChoice): CommandLine | null
}

/** Debian 12 ships the C daemon with QEMU; later releases the Rust one in a package of its own. */
function findVirtiofsd(): LaunchTools['virtiofsd'] {
  const rust = ['/usr/libexec/virtiofsd', '/usr/lib/virtiofsd/virtiofsd', '/usr/bin/virtiofsd'].find((path) =>
    existsSync(path),
  )
  if (rust !== undefined) return { path: rust, dialect: 'rust' }
  const c = '/usr/lib/qemu/virtiofsd'
  return existsSync(c) ? { path: c, dialect: 'c' } : null
}

const nowSeconds = () => Math.floor(Date.now() / 1000)
/** A clock with an offset is compared as if both had started at once. */
const startOf = (running: LaunchPlan | null): number => running?.startSeconds ?? nowSeconds()

export function createLauncher(deps: LaunchDeps): Launcher {
  const { data, library, volumes, identity, layerReaders } = deps
  const tools = {
    setpriv: findProgram('setpriv'),
    prlimit: findProgram('prlimit'),
    swtpm: findProgram('swtpm'),
    virtiofsd: findVirtiofsd(),
  }

  const decide = (choice: AcceleratorChoice, uid: number | null) => decideFor(deps.accelerator, choice, uid)

  const launchPaths = (vmId: string): LaunchPaths => {
    const run = vmRunPaths(deps.runDir, vmId)
    return {
      dir: run.dir,
      data: data.vmDir(vmId),
      pidfile: run.pidfile,
      qmp: run.qmp,
      qmpRescue: run.qmpRescue,
      vnc: run.vnc,
      serial: run.serial,
      agent: run.agent,
      nvram: data.nvram(vmId),
    }
  }

  /** @param files filled with every file of the chain and what to call it in a message */
  const resolveDrive = (
    { id: vmId, ownerId }: LaunchSubject,
    drive: VmSpec['disks'][number],
    index: number,
    files: Map<string, string>,
  ): ResolvedDrive => {
    const chain: ResolvedDrive['chain'][number][] = []
    if (drive.device === 'disk' && drive.shared && drive.serial !== null) {
      // Not among the files to be looked at: another QEMU may well be writing to it.
      chain.push({ path: data.sharedDisk(ownerId, drive.serial), format: 'raw', readOnly: false })
    } else if (drive.device === 'disk') {
      const links = volumes.chainOf(vmId, drive.id)
      if (links !== null) {
        links.forEach(({ path, format, imageId }, depth) => {
          chain.push({ path, format, readOnly: depth > 0, ...(depth > 0 && imageId === null && { canMerge: true }) })
          const image = imageId === null ? null : library.get(imageId)
          files.set(path, image === null ? `the disk “${drive.id}”` : `the image ${image.name}`)
        })
        return { id: drive.id, chain }
      }
      // Not made yet: what it would be made as.
      const path = data.disk(vmId, drive.id)
      chain.push({ path, format: 'qcow2', readOnly: false })
      files.set(path, `the disk “${drive.id}”`)
    }
    if (drive.device === 'cdrom' && drive.seed !== null) {
      const path = data.seed(vmId, drive.seed)
      chain.push({ path, format: 'raw', readOnly: true })
      files.set(path, 'the seed CD')
    }
    if (drive.image !== null) {
      const document = library.get(drive.image)
      if (document === null) {
        throw new EngineError(
          'image_missing',
          `The image of “${drive.id}” is no longer in the library; choose another.`,
          {
            field: `disks.${index}.image`,
          },
        )
      }
      const path = library.filePath(document)
      chain.push({ path, format: document.format, readOnly: true })
      files.set(path, `the image ${document.name}`)
    }
    return { id: drive.id, chain }
  }

  const assertImagesPresent = async ({ id, spec }: LaunchSubject): Promise<void> => {
    await Promise.all(
      spec.disks.map(async (drive, index) => {
        const volume = drive.device === 'disk' ? volumes.find(id, drive.id) : null
        const imageId = volume === null ? drive.image : (volumes.imagesOf(volume)[0] ?? null)
        const document = imageId === null ? null : library.get(imageId)
        if (document === null || (await library.checkPresent(document))) return
        throw new EngineError(
          'image_missing',
          `The file of the image ${document.name} has gone or changed since it was added. Put it back, or choose another image.`,
          { field: `disks.${index}.image` },
        )
      }),
    )
  }

  const compileInput = (
    subject: LaunchSubject,
    capabilities: QemuCapabilities,
    accelerator: CompileInput['accelerator'],
    user: LaunchUser | null,
    files: Map<string, string>,
    startSeconds: number,
  ): CompileInput => ({
    vmId: subject.id,
    spec: subject.spec,
    capabilities,
    accelerator,
    paths: launchPaths(subject.id),
    drives: subject.spec.disks.map((drive, index) => resolveDrive(subject, drive, index, files)),
    user,
    tools,
    confinement: deps.confine?.of?.(subject.id) ?? null,
    startSeconds,
    host: readLaunchHost(user),
    generation: deps.generationOf(subject.id),
    nvram: subject.spec.firmware === 'uefi' ? readNvramOrigin(data, subject.id) : null,
  })

  const shown = (
    plan: LaunchPlan,
    running: LaunchPlan | null,
    about: Pick<CommandLine, 'applies' | 'accelerator' | 'qemuVersion'>,
  ): CommandLine => ({
    binary: plan.binary,
    qemuVersion: about.qemuVersion,
    wrapper: markWrapperChanges(plan, running),
    options: markChanges(plan, running),
    shell: toShell(plan),
    applies: about.applies,
    accelerator: about.accelerator,
    warnings: [...plan.warnings],
  })

  /** @throws EngineError bad_input naming the field that cannot be compiled */
  const planNext = async (subject: LaunchSubject, running: LaunchPlan | null) => {
    const { spec } = subject
    const capabilities = await deps.capabilities.current()
    const decision = await decide(spec.accelerator, subject.uid)
    // What cannot run on this host is still worth explaining: compile for what was asked and say so.
    const kind =
      decision.kind ?? (spec.accelerator === 'kvm' && capabilities.accelerators.includes('kvm') ? 'kvm' : 'tcg')
    const user = identity.launchUser(subject.uid, decision.kvmGid, layerReaders.groups(subject.id))
    const accelerator = { kind, reason: decision.reason }
    const result = compile(compileInput(subject, capabilities, accelerator, user, new Map(), startOf(running)))
    if (!result.ok) throw problemError('bad_input', result.problems)
    return { plan: result.plan, decision, qemuVersion: capabilities.version }
  }

  return {
    async prepare(subject) {
      const { spec } = subject
      const [capabilities, decision] = await Promise.all([
        deps.capabilities.current(),
        decide(spec.accelerator, subject.uid),
        assertImagesPresent(subject),
      ])
      if (decision.kind === null) {
        throw new EngineError('accelerator_unusable', decision.reason, { field: 'accelerator' })
      }
      const accelerator = { kind: decision.kind, reason: decision.reason }
      const user = identity.launchUser(subject.uid, decision.kvmGid, await layerReaders.admit(subject.id))
      const files = new Map<string, string>()
      const result = compile(compileInput(subject, capabilities, accelerator, user, files, nowSeconds()))
      if (!result.ok) throw problemError('launch_failed', result.problems)
      deps.confine?.prepare(subject.id)
      if (spec.firmware === 'uefi') files.set(data.nvram(subject.id), 'the UEFI variables')
      if (spec.directKernel !== null) {
        files.set(spec.directKernel.kernel, 'the kernel')
        if (spec.directKernel.initrd !== null) files.set(spec.directKernel.initrd, 'the initial file system')
      }
      return { vmId: subject.id, spec, plan: result.plan, user, accelerator, files }
    },
    async explain(subject, running) {
      const { plan, decision, qemuVersion } = await planNext(subject, running)
      const accelerator: VmAccelerator = {
        requested: subject.spec.accelerator,
        actual: decision.kind,
        observed: false,
        reason: decision.reason,
      }
      const line = shown(plan, running, { applies: 'next', accelerator, qemuVersion })
      return decision.kind === null ? { ...line, warnings: [decision.reason, ...line.warnings] } : line
    },
    async assertCompiles(subject) {
      await planNext(subject, null)
    },
    async compiler(subject, accelerator, running = null) {
      const capabilities = await deps.capabilities.current()
      const decision = await decide(subject.spec.accelerator, subject.uid)
      const actual = accelerator ?? { kind: decision.kind ?? 'tcg', reason: decision.reason }
      const user = identity.launchUser(subject.uid, decision.kvmGid, layerReaders.groups(subject.id))
      const startSeconds = startOf(running)
      return (spec) => {
        const result = compile(compileInput({ ...subject, spec }, capabilities, actual, user, new Map(), startSeconds))
        if (!result.ok) throw problemError('bad_input', result.problems)
        return result.plan
      }
    },
    explainRunning(runtime, requested) {
      const { launchedPlan, accelerator, live, launchedSpec } = runtime
      if (launchedPlan === null || accelerator === null) return null
      return shown(launchedPlan, null, {
        applies: 'running',
        qemuVersion: live?.qemuVersion ?? 'unknown',
        accelerator: {
          requested: launchedSpec?.accelerator ?? requested,
          actual: accelerator.kind,
          observed: true,
          reason: accelerator.reason,
        },
      })
    },
  }
}

function problemError(
  code: 'launch_failed' | 'bad_input',
  problems: readonly { field: string; message: string }[],
): EngineError {
  const first = problems[0]
  return new EngineError(code, first?.message ?? 'This definition cannot be started.', {
    ...(first !== undefined && first.field !== '' && { field: first.field }),
    ...(problems.length > 1 && { details: { problems: problems.map(({ field, message }) => ({ field, message })) } }),
  })
}
