/**
 * Names of backups below a pool:
 *
 *   <pool>/backups/<vm id>/<backup id>/manifest.json, notes.json, README.txt, disk-….qcow2, nvram.qcow2, tpm-…
 *   <pool>/backups/<vm id>/<backup id>.part/   while it is written; renamed when whole
 */
import { join } from 'node:path'
import type { Manifest } from './manifest.ts'

export const BACKUPS_DIR = 'backups'
export const PART = '.part'
/** A removed backup is renamed first, so that a crash never leaves half of one. */
export const GONE = '.gone'

export const backupsDir = (poolRoot: string) => join(poolRoot, BACKUPS_DIR)
export const vmBackupsDir = (poolRoot: string, vmId: string) => join(poolRoot, BACKUPS_DIR, vmId)
export const backupDir = (poolRoot: string, vmId: string, id: string) => join(poolRoot, BACKUPS_DIR, vmId, id)

export const diskFile = (device: string) => `disk-${device}.qcow2`
export const NVRAM_FILE = 'nvram.qcow2'
export const tpmFile = (name: string) => `tpm-${name}`
/** Bitmap in a VM's disk that counts what changed since a backup. */
export const bitmapOf = (backupId: string) => `gd-${backupId}`
export const backupOfBitmap = (name: string) => /^gd-([0-9a-f-]{36})$/.exec(name)?.[1] ?? null

/** For somebody who has the folder and no Guestdeck. */
export function readmeText(manifest: Manifest): string {
  const lines = [
    `Backup of the virtual machine "${manifest.vm.name}", ${manifest.createdAt}`,
    '',
    manifest.kind === 'full'
      ? 'A full backup: each disk file here is complete by itself.'
      : `An incremental backup. It stands on the backup in ../${manifest.parent}/, which must be kept.`,
    '',
    'The disks are plain qcow2 files. Without Guestdeck:',
    '',
    ...manifest.disks.map(
      (disk) =>
        `  ${disk.device}: qemu-img convert -p -O qcow2 ${disk.file} /where/to/${disk.device}.qcow2` +
        (disk.kind === 'incremental' ? '   (reads the files below it as well)' : ''),
    ),
    '',
    'An incremental disk names the file it stands on, relative to its own folder, so that qemu-img finds the whole',
    'chain as long as the folders stay beside each other. Look before you convert what others gave you:',
    '',
    ...manifest.disks.map((disk) => `  qemu-img info --backing-chain ${disk.file}`),
    '',
    'manifest.json has the definition of the machine ("spec") and the SHA-256 of every file: sha256sum FILE',
    ...(manifest.nvram === null
      ? []
      : ['nvram.qcow2 has its UEFI variables (convert with -O raw for other programs).']),
    ...(manifest.tpm.length === 0
      ? []
      : ['tpm-* are the state of its TPM, as swtpm keeps it. They are not encrypted: keep them private.']),
    '',
  ]
  return lines.join('\n')
}
