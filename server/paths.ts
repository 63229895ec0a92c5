/**
 * Every name on disk. Documented for operators in `docs/on-disk-layout.md`; a snapshot test keeps both in step.
 *
 * Unix socket paths are limited to 107 bytes (`sun_path` less its NUL): Node truncates longer ones in silence,
 * QEMU refuses them, so `assertSocketPathsFit` refuses the run directory first.
 */
import { join, resolve } from 'node:path'

export const SOCKET_PATH_MAX_BYTES = 107

export interface DataPaths {
  readonly root: string
  readonly stateDb: string
  readonly stateBackup: string
  readonly lock: string
  /** Key that secrets in the database are sealed with. */
  readonly sealKey: string
  /** Keys and certificates of the dashboard itself. */
  readonly tlsDir: string
  readonly capabilitiesCache: string
  readonly imagesDir: string
  readonly uploadsDir: string
  image(id: string): string
  upload(id: string): string
  /** A resumable upload or a download that is not complete. */
  partial(id: string): string
  /** The operator's additions to the catalogue of images; may be missing. */
  readonly catalogue: string
  readonly sharedDir: string
  /** Disk that several VMs of one owner write to. */
  sharedDisk(ownerId: string, serial: string): string
  /** Disk files that belong to no single VM's directory: overlays, shared bases, free volumes. */
  readonly layersDir: string
  /** Small systems that libguestfs looks into disks with, made of this host's packages; may be removed at any time. */
  readonly appliancesDir: string
  appliance(key: string): string
  readonly vmsDir: string
  /** Machines that try out a backup keep what they write here, while they run. */
  readonly proofsDir: string
  proof(backupId: string): string
  vmDir(vmId: string): string
  disk(vmId: string, deviceId: string): string
  nvram(vmId: string): string
  /** How the UEFI variables were made. */
  nvramOrigin(vmId: string): string
  tpmDir(vmId: string): string
  /** A seed CD of the VM: what its first start is to set up, with its secrets. */
  seed(vmId: string, seedId: string): string
  /** What belongs to a VM's snapshots besides its disks. */
  snapshotsDir(vmId: string): string
  snapshotNvram(vmId: string, snapshotId: string): string
  snapshotTpm(vmId: string, snapshotId: string): string
  snapshotScreen(vmId: string, snapshotId: string): string
  /** Recordings of the VM's consoles. */
  recordingsDir(vmId: string): string
  recording(vmId: string, recordingId: string, kind: 'vnc' | 'serial'): string
  /** Says that the VM's directory is half created or half deleted. */
  unfinished(vmId: string): string
}

export function dataPaths(dataDir: string): DataPaths {
  const root = resolve(dataDir)
  return {
    root,
    stateDb: join(root, 'state.db'),
    stateBackup: join(root, 'state.db.bak'),
    lock: join(root, 'dashboard.lock'),
    sealKey: join(root, 'seal.key'),
    tlsDir: join(root, 'tls'),
    capabilitiesCache: join(root, 'capabilities.json'),
    imagesDir: join(root, 'images'),
    uploadsDir: join(root, 'uploads'),
    image: (id) => join(root, 'images', id),
    upload: (id) => join(root, 'uploads', `${id}.part`),
    partial: (id) => join(root, 'uploads', `${id}.partial`),
    catalogue: join(root, 'catalogue.yaml'),
    sharedDir: join(root, 'shared'),
    sharedDisk: (ownerId, serial) => join(root, 'shared', `${ownerId}.${serial}.raw`),
    layersDir: join(root, 'layers'),
    proofsDir: join(root, 'proofs'),
    proof: (backupId) => join(root, 'proofs', backupId),
    appliancesDir: join(root, 'appliances'),
    appliance: (key) => join(root, 'appliances', key),
    vmsDir: join(root, 'vms'),
    vmDir: (vmId) => join(root, 'vms', vmId),
    disk: (vmId, deviceId) => join(root, 'vms', vmId, `${deviceId}.qcow2`),
    nvram: (vmId) => join(root, 'vms', vmId, 'nvram.qcow2'),
    nvramOrigin: (vmId) => join(root, 'vms', vmId, 'nvram.json'),
    tpmDir: (vmId) => join(root, 'vms', vmId, 'tpm'),
    seed: (vmId, seedId) => join(root, 'vms', vmId, `seed-${seedId}.iso`),
    snapshotsDir: (vmId) => join(root, 'vms', vmId, 'snapshots'),
    snapshotNvram: (vmId, id) => join(root, 'vms', vmId, 'snapshots', `${id}.nvram.qcow2`),
    snapshotTpm: (vmId, id) => join(root, 'vms', vmId, 'snapshots', `${id}.tpm`),
    snapshotScreen: (vmId, id) => join(root, 'vms', vmId, 'snapshots', `${id}.png`),
    recordingsDir: (vmId) => join(root, 'vms', vmId, 'recordings'),
    recording: (vmId, id, kind) =>
      join(root, 'vms', vmId, 'recordings', `${id}.${kind === 'vnc' ? 'gdscreen' : 'cast'}`),
    unfinished: (vmId) => join(root, 'vms', vmId, '.unfinished'),
  }
}

/** Sockets of programs that read disks for the dashboard; emptied when it starts. */
export const diskReadersDir = (runDir: string): string => join(resolve(runDir), 'readers')

export interface VmRunPaths {
  readonly dir: string
  readonly pidfile: string
  readonly qmp: string
  readonly qmpRescue: string
  readonly vnc: string
  readonly serial: string
  readonly agent: string
  /** What was launched: argv, spec, start time, boot id; read back on adoption. */
  readonly launch: string
  /** Why its disks stopped it, and who wants it to stay so; there while it is stopped by them. */
  readonly pause: string
  readonly stderr: string
  readonly screenshot: string
}

export function vmRunPaths(runDir: string, vmId: string): VmRunPaths {
  const dir = join(resolve(runDir), vmId)
  return {
    dir,
    pidfile: join(dir, 'pid'),
    qmp: join(dir, 'qmp.sock'),
    qmpRescue: join(dir, 'qmp2.sock'),
    vnc: join(dir, 'vnc.sock'),
    serial: join(dir, 'ser.sock'),
    agent: join(dir, 'qga.sock'),
    launch: join(dir, 'launch.json'),
    pause: join(dir, 'pause.json'),
    stderr: join(dir, 'stderr.log'),
    screenshot: join(dir, 'screen.png'),
  }
}

/** @throws Error naming the limit when the longest socket under `runDir` would not fit. */
export function assertSocketPathsFit(runDir: string): void {
  const longest = Buffer.byteLength(vmRunPaths(runDir, '0'.repeat(36)).qmpRescue)
  if (longest > SOCKET_PATH_MAX_BYTES) {
    const allowed = SOCKET_PATH_MAX_BYTES - (longest - Buffer.byteLength(resolve(runDir)))
    throw new Error(
      `The run directory ${resolve(runDir)} is too long: its sockets would need ${longest} bytes and the kernel allows ${SOCKET_PATH_MAX_BYTES}. Set GUESTDECK_RUN to a path of at most ${allowed} bytes.`,
    )
  }
}
