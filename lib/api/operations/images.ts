/** Operations: the image library. */
import * as z from 'zod'
import { ImageId } from '../../schema/ids.ts'
import { Image, Starter } from '../../schema/image.ts'
import { Job } from '../../schema/job.ts'
import { Items, type Operation, op } from '../operation.ts'

const imageId = z.strictObject({ id: ImageId })

const upload = {
  privilege: 'image.add',
  query: z.strictObject({
    name: z.string().min(1).max(255),
    /** Expected SHA-256; a different one is refused with `checksum_mismatch`. */
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
  }),
  stream: 'application/octet-stream',
  response: Image,
  status: 201,
  errors: ['quota_exceeded', 'image_refused', 'checksum_mismatch', 'too_large', 'no_space', 'busy'],
} as const

export const imagesOperations = {
  imageList: op({
    method: 'GET',
    path: '/images',
    summary: 'The image library',
    privilege: 'image.view',
    response: Items(Image),
  }),
  imageUpload: op({
    method: 'POST',
    path: '/images/upload',
    summary: 'Upload an ISO, a disk image of any format, a compressed file or an appliance (OVA) as the request body',
    ...upload,
  }),
  imagePut: op({
    method: 'PUT',
    path: '/images/upload',
    summary: 'The same for tools that send files by PUT, such as curl -T FILE; each time a new image',
    ...upload,
  }),
  imageRegister: op({
    method: 'POST',
    path: '/images/register',
    summary: 'Use a file where it is, from a directory the administrator allowed; reading its checksum is a job',
    privilege: 'image.register',
    body: z.strictObject({ path: z.string().min(1).max(4096), name: z.string().min(1).max(255).optional() }),
    response: Job,
    status: 202,
    errors: ['image_refused', 'image_missing', 'conflict'],
  }),
  imageSources: op({
    method: 'GET',
    path: '/images/sources',
    summary: 'Files in the allowed directories that could be registered',
    privilege: 'image.register',
    response: z.strictObject({
      directories: z.array(z.strictObject({ path: z.string(), state: z.enum(['ok', 'missing', 'denied']) })),
      files: z.array(z.strictObject({ path: z.string(), sizeBytes: z.number() })),
    }),
  }),
  starterList: op({
    method: 'GET',
    path: '/images/starters',
    summary: 'Bootable things the distribution ships',
    privilege: 'image.view',
    response: Items(Starter),
  }),
  starterAdd: op({
    method: 'POST',
    path: '/images/starters/:id',
    summary: 'Add a starter to the library',
    privilege: 'image.add',
    params: z.strictObject({ id: Starter.shape.id }),
    response: Image,
    status: 201,
    errors: ['quota_exceeded', 'image_missing', 'image_refused'],
  }),
  imageView: op({
    method: 'GET',
    path: '/images/:id',
    summary: 'One image',
    privilege: 'image.view',
    params: imageId,
    response: Image,
  }),
  imageUpdate: op({
    method: 'PATCH',
    path: '/images/:id',
    summary: 'Rename an image or describe it',
    privilege: 'image.add',
    params: imageId,
    body: z.strictObject({
      name: z.string().min(1).max(255).optional(),
      description: z.string().max(4000).optional(),
    }),
    response: Image,
  }),
  imageContent: op({
    method: 'GET',
    path: '/images/:id/content',
    summary: 'The bytes of an image, whole or one range of them',
    privilege: 'image.add',
    params: imageId,
    raw: 'application/octet-stream',
    errors: ['image_missing', 'bad_range'],
  }),
  imageDelete: op({
    method: 'DELETE',
    path: '/images/:id',
    summary: 'Remove an image no VM uses; a registered file itself stays',
    privilege: 'image.delete',
    params: imageId,
    status: 204,
    errors: ['in_use'],
  }),
} as const satisfies Record<string, Operation>
