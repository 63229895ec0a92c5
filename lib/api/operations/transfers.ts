/** Operations: what brings bytes into the image library. Resumable uploads speak tus 1.0.0. */
import * as z from 'zod'
import { ImageId } from '../../schema/ids.ts'
import { Job } from '../../schema/job.ts'
import { CatalogueEntry, DownloadInput, DownloadPreview, UploadSession } from '../../schema/transfer.ts'
import { Items, type Operation, op } from '../operation.ts'

const uploadId = z.strictObject({ id: ImageId })

export const transfersOperations = {
  uploadList: op({
    method: 'GET',
    path: '/images/uploads',
    summary: 'Unfinished uploads of the caller; an administrator sees everybody’s',
    privilege: 'image.add',
    response: Items(UploadSession),
  }),
  uploadCreate: op({
    method: 'POST',
    path: '/images/uploads',
    summary:
      'Begin a resumable upload (tus 1.0.0, creation): Upload-Length, Upload-Metadata with filename, optionally sha256 and lastmodified; the address to go on at is in Location',
    privilege: 'image.add',
    response: UploadSession,
    status: 201,
    errors: ['quota_exceeded', 'no_space', 'too_large', 'busy', 'tus_version', 'image_refused'],
  }),
  uploadView: op({
    method: 'GET',
    path: '/images/uploads/:id',
    summary: 'How far an upload is; HEAD answers Upload-Offset and ends a connection that still sends to it',
    privilege: 'image.add',
    params: uploadId,
    response: UploadSession,
    errors: ['tus_version', 'busy'],
  }),
  uploadAppend: op({
    method: 'PATCH',
    path: '/images/uploads/:id',
    summary: 'Send the bytes from Upload-Offset on, optionally with Upload-Checksum; answers the new Upload-Offset',
    privilege: 'image.add',
    params: uploadId,
    stream: 'application/offset+octet-stream',
    status: 204,
    errors: ['conflict', 'too_large', 'no_space', 'chunk_mismatch', 'busy', 'tus_version'],
  }),
  uploadDelete: op({
    method: 'DELETE',
    path: '/images/uploads/:id',
    summary: 'Cancel an upload and remove what has arrived',
    privilege: 'image.add',
    params: uploadId,
    status: 204,
    errors: ['wrong_state', 'tus_version'],
  }),
  uploadFinish: op({
    method: 'POST',
    path: '/images/uploads/:id/finish',
    summary: 'Try again to add an upload that is complete and could not be added for want of room',
    privilege: 'image.add',
    params: uploadId,
    response: UploadSession,
    status: 202,
    errors: ['wrong_state'],
  }),
  imageDownload: op({
    method: 'POST',
    path: '/images/download',
    summary: 'Fetch an image by its address, as a job',
    privilege: 'image.add',
    body: DownloadInput,
    response: Job,
    status: 202,
    errors: ['quota_exceeded', 'blocked_address', 'busy'],
  }),
  imageDownloadPreview: op({
    method: 'POST',
    path: '/images/download/preview',
    summary: 'What an address would bring, without fetching it',
    privilege: 'image.add',
    body: DownloadInput,
    response: DownloadPreview,
    errors: ['blocked_address', 'source_failed', 'too_large'],
  }),
  catalogueList: op({
    method: 'GET',
    path: '/images/catalogue',
    summary: 'Well-known installers and cloud images, and those the operator added',
    privilege: 'image.view',
    response: z.strictObject({
      items: z.array(CatalogueEntry),
      /** What is wrong in the operator’s own file; for administrators. */
      problems: z.array(z.string()),
    }),
  }),
  catalogueFetch: op({
    method: 'POST',
    path: '/images/catalogue/:id',
    summary: 'Fetch an entry of the catalogue into the library, as a job',
    privilege: 'image.add',
    params: z.strictObject({ id: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/) }),
    response: Job,
    status: 202,
    errors: ['quota_exceeded', 'busy', 'conflict'],
  }),
} as const satisfies Record<string, Operation>
