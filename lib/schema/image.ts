/** Library images: installers and disks that VMs boot from. */
import * as z from 'zod'
import { ApplianceId } from './appliance.ts'
import { ImageId, Instant, ProjectId, UserId, VmId } from './ids.ts'
import { GuestKind } from './vm-spec.ts'

export const ImageKind = z.enum(['iso', 'disk']).meta({ id: 'ImageKind' })
export const ImageFormat = z.enum(['raw', 'qcow2']).meta({ id: 'ImageFormat' })

/** How a file looked before it became ours. */
export const ImageOrigin = z
  .strictObject({
    format: z.enum(['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi', 'vpc']),
    compression: z.enum(['gzip', 'xz', 'zstd', 'bzip2']).nullable(),
    sizeBytes: z.number(),
  })
  .meta({ id: 'ImageOrigin' })
export type ImageOrigin = z.output<typeof ImageOrigin>

export const Architecture = z.enum(['x86_64', 'i386', 'aarch64', 'arm', 'riscv64', 'ppc64le', 's390x'])
export const BootMode = z.enum(['bios', 'uefi'])

/** What was found inside. */
export const ImageOs = z
  .strictObject({
    /** As in os-release, for example `debian`; also `windows`, `freebsd`. */
    id: z.string(),
    name: z.string(),
    version: z.string().nullable(),
    architecture: Architecture.nullable(),
  })
  .meta({ id: 'ImageOs' })
export type ImageOs = z.output<typeof ImageOs>

export const Image = z
  .strictObject({
    id: ImageId,
    name: z.string(),
    kind: ImageKind,
    format: ImageFormat,
    /** Bytes on disk. */
    sizeBytes: z.number(),
    /** Bytes the guest sees. */
    virtualSizeBytes: z.number(),
    /** Of the file as it was brought, lower-case hex; null while a registered file is still being read. */
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .nullable(),
    /** Volume id of an ISO, when it has one. */
    label: z.string().nullable(),
    /** Guest kind by what is inside, or else by the label; null: not known. */
    guest: GuestKind.nullable(),
    /** The operating system inside, or that it installs; null: not known. */
    os: ImageOs.nullable(),
    /** Firmware it starts from; empty: none that is known. Null: nobody has looked yet. */
    bootModes: z.array(BootMode).nullable(),
    /** Whether cloud-init is installed; null: not known. */
    cloudInit: z.boolean().nullable(),
    /**
     * `upload`, `download`, `import`: our copy. `registered`: a file that stays where an administrator keeps it.
     * `starter`: shipped by the distribution.
     */
    source: z.enum(['upload', 'registered', 'starter', 'download', 'import']),
    /** What was brought, when our file is a converted or unpacked copy of it. */
    origin: ImageOrigin.nullable(),
    description: z.string(),
    /** Address it was downloaded from, without credentials and query. */
    downloadedFrom: z.string().nullable(),
    /** Id of the entry of the catalogue it came from. */
    catalogue: z.string().nullable(),
    /** The appliance (OVA) it came with, whose draft of a VM is at `/appliances/:id`. */
    appliance: ApplianceId.nullable(),
    /** False when the file has gone or changed since it was added. */
    present: z.boolean(),
    usedBy: z.array(z.strictObject({ id: VmId, name: z.string() })),
    addedBy: z.strictObject({ id: UserId, name: z.string() }),
    addedAt: Instant,
    /** Absent in the common library, which is everybody's. */
    project: z.strictObject({ id: ProjectId, name: z.string() }).optional(),
  })
  .meta({ id: 'Image' })
export type Image = z.output<typeof Image>

/** Something bootable that a package of the distribution ships. */
export const Starter = z
  .strictObject({
    id: z.enum(['memtest86plus', 'ipxe', 'grub-rescue', 'debian-netinst']),
    name: z.string(),
    purpose: z.string(),
    package: z.string(),
    available: z.boolean(),
    /** Why not, or how to get it; empty when available. */
    detail: z.string(),
    installCommand: z.string().nullable(),
    sizeBytes: z.number().nullable(),
    /** The library image once added. */
    image: ImageId.nullable(),
  })
  .meta({ id: 'Starter' })
export type Starter = z.output<typeof Starter>
