/** Operations: files on disks, images, snapshots and in backups, read without starting anything. */
import * as z from 'zod'
import { BackupId } from '../../schema/backup.ts'
import { DiskFiles, FileQuery, FilesQuery } from '../../schema/disk-files.ts'
import { ImageId, SnapshotId, VmId, VolumeId } from '../../schema/ids.ts'
import { type Operation, op } from '../operation.ts'

const image = z.strictObject({ id: ImageId })
const volume = z.strictObject({ id: VolumeId })
const backup = z.strictObject({ id: BackupId })
const snapshot = z.strictObject({ id: VmId, snapshotId: SnapshotId })

const list = {
  method: 'GET',
  query: FilesQuery,
  response: DiskFiles,
  errors: ['unreadable', 'wrong_state', 'pool_unavailable', 'busy'],
} as const
const content = {
  method: 'GET',
  query: FileQuery,
  raw: 'application/octet-stream',
  errors: ['unreadable', 'wrong_state', 'pool_unavailable', 'busy', 'too_large'],
} as const

export const filesOperations = {
  imageFileList: op({
    ...list,
    path: '/images/:id/files',
    summary: 'Files inside a library image',
    privilege: 'image.add',
    params: image,
  }),
  imageFileContent: op({
    ...content,
    path: '/images/:id/files/content',
    summary: 'One file inside a library image',
    privilege: 'image.add',
    params: image,
  }),
  volumeFileList: op({
    ...list,
    path: '/volumes/:id/files',
    summary: 'Files on a disk that no running VM has',
    privilege: 'volume.change',
    params: volume,
  }),
  volumeFileContent: op({
    ...content,
    path: '/volumes/:id/files/content',
    summary: 'One file on a disk that no running VM has',
    privilege: 'volume.change',
    params: volume,
  }),
  snapshotFileList: op({
    ...list,
    path: '/vms/:id/snapshots/:snapshotId/files',
    summary: 'Files on a disk as a snapshot holds it',
    privilege: 'vm.snapshot',
    params: snapshot,
  }),
  snapshotFileContent: op({
    ...content,
    path: '/vms/:id/snapshots/:snapshotId/files/content',
    summary: 'One file on a disk as a snapshot holds it',
    privilege: 'vm.snapshot',
    params: snapshot,
  }),
  backupFileList: op({
    ...list,
    path: '/backups/:id/files',
    summary: 'Files in a backup, without restoring it',
    privilege: 'backup.restore',
    params: backup,
  }),
  backupFileContent: op({
    ...content,
    path: '/backups/:id/files/content',
    summary: 'One file in a backup, without restoring it',
    privilege: 'backup.restore',
    params: backup,
  }),
} as const satisfies Record<string, Operation>
