/**
 * Decides what a file is that somebody brings, from its bytes alone; its name plays no part. Nothing here runs QEMU,
 * follows a reference in the file, or reads more than a few MiB.
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { inspectVdi } from './formats/vdi.ts'
import { inspectVhd, VHD_MAGIC } from './formats/vhd.ts'
import { inspectVhdx, VHDX_MAGIC } from './formats/vhdx.ts'
import { inspectVmdk, VMDK_MAGIC } from './formats/vmdk.ts'
import { readIso } from './iso.ts'
import { inspectQcow2, QCOW2_MAGIC } from './qcow2.ts'
import { type BoundedReader, MAX_VIRTUAL_BYTES, refuseImage } from './reader.ts'

/** Formats as qemu-img calls them. */
export type DiskFileFormat = 'raw' | 'qcow2' | 'vmdk' | 'vhdx' | 'vdi' | 'vpc'
export type Compression = 'gzip' | 'xz' | 'zstd' | 'bzip2'

interface Facts<Format> {
  readonly kind: 'iso' | 'disk'
  readonly format: Format
  readonly virtualSizeBytes: number
  /** Volume id of an ISO, cleaned; null when it has none. */
  readonly label: string | null
  readonly guest: VmSpec['guest'] | null
}
/** Of a file that can be used as it lies. */
export type ImageFacts = Facts<'raw' | 'qcow2'>
export type DiskFacts = Facts<DiskFileFormat>

export type Found =
  | { readonly is: 'image'; readonly facts: DiskFacts }
  /** One file that was squeezed; what is inside is not known yet. */
  | { readonly is: 'compressed'; readonly method: Compression }
  /** A tar file: an appliance (OVA), if it has a description inside. */
  | { readonly is: 'tar' }

const SECTOR = 512
const latin = (text: string) => Buffer.from(text, 'latin1')
const hex = (text: string) => Buffer.from(text, 'hex')

const COMPRESSED: readonly { method: Compression; magic: Buffer }[] = [
  { method: 'gzip', magic: hex('1f8b08') },
  { method: 'xz', magic: hex('fd377a585a00') },
  { method: 'zstd', magic: hex('28b52ffd') },
  { method: 'bzip2', magic: latin('BZh') },
]

/** What is never taken. Offsets and magics from QEMU's block drivers. */
const FOREIGN: readonly { name: string; offset: number; magic: Buffer; hint?: string }[] = [
  { name: 'QED', offset: 0, magic: latin('QED\0') },
  { name: 'VMDK (ESX sparse)', offset: 0, magic: latin('COWD') },
  { name: 'VMDK (SE sparse)', offset: 0, magic: hex('beefcafe').reverse() },
  {
    name: 'VMDK descriptor',
    offset: 0,
    magic: latin('# Disk DescriptorFile'),
    hint: 'It only names the files that hold the data, and a path in an image is never followed. Export the disk as one file (streamOptimized).',
  },
  { name: 'LUKS', offset: 0, magic: hex('4c554b53babe'), hint: 'It is encrypted; decrypt it first.' },
  { name: 'Parallels', offset: 0, magic: latin('WithoutFreeSpace') },
  { name: 'Parallels', offset: 0, magic: latin('WithouFreSpacExt') },
  { name: 'Bochs', offset: 0, magic: latin('Bochs Virtual HD Image') },
  { name: 'cloop', offset: 0, magic: latin('#!/bin/sh\n#V2.0 Format\n') },
]
const ARCHIVES: readonly { name: string; magic: Buffer }[] = [
  { name: 'zip', magic: hex('504b0304') },
  { name: '7-Zip', magic: hex('377abcaf271c') },
  { name: 'rar', magic: latin('Rar!\x1a\x07') },
]
const CONVERT_HINT = 'Convert it where it comes from: qemu-img convert -O qcow2 IN OUT.'

/**
 * Of a file that is to be used where it lies, as it is.
 * @throws EngineError image_refused, image_has_backing, unsupported_format
 */
export async function inspectImage(reader: BoundedReader): Promise<ImageFacts> {
  const found = await identify(reader)
  if (found.is === 'compressed') {
    return refuseImage(`This file is compressed (${found.method}). Import it: what is inside is then unpacked.`)
  }
  if (found.is === 'tar') return refuseImage('This is a tar or OVA archive. Import it: its disks are then taken out.')
  const { format } = found.facts
  if (format !== 'raw' && format !== 'qcow2') {
    return refuseImage(`This is a ${NAMES[format]} image. Import it: it is then converted to a file of our own.`)
  }
  return { ...found.facts, format }
}

/** For people. */
export const NAMES: Record<DiskFileFormat, string> = {
  raw: 'raw',
  qcow2: 'qcow2',
  vmdk: 'VMDK',
  vhdx: 'VHDX',
  vdi: 'VDI',
  vpc: 'VHD',
}

const disk = (format: DiskFileFormat, virtualSizeBytes: number): Found => ({
  is: 'image',
  facts: { kind: 'disk', format, virtualSizeBytes, label: null, guest: null },
})

/** @throws EngineError image_refused, image_has_backing, unsupported_format with a sentence that says what to do */
export async function identify(reader: BoundedReader): Promise<Found> {
  if (reader.sizeBytes === 0) refuseImage('The file is empty.')
  if (reader.sizeBytes > MAX_VIRTUAL_BYTES) refuseImage('The file is larger than 64 TiB.')
  const head = await reader.read(0, 2048)
  const starts = (magic: Buffer, offset = 0) => head.subarray(offset, offset + magic.length).equals(magic)

  // Formats with a magic of their own win over everything: QEMU would recognise them when probing.
  if (head.length >= 4 && head.readUInt32BE(0) === QCOW2_MAGIC) {
    if (head.length < 8) refuseImage('This qcow2 file is cut off: its header is incomplete.')
    return disk('qcow2', (await inspectQcow2(reader)).virtualSizeBytes)
  }
  if (starts(VMDK_MAGIC)) return disk('vmdk', (await inspectVmdk(reader)).virtualSizeBytes)
  if (starts(VHDX_MAGIC)) return disk('vhdx', (await inspectVhdx(reader)).virtualSizeBytes)
  if (starts(hex('7f10dabe'), 64)) return disk('vdi', (await inspectVdi(reader)).virtualSizeBytes)
  if (starts(VHD_MAGIC)) return disk('vpc', (await inspectVhd(reader)).virtualSizeBytes)
  for (const { name, offset, magic, hint } of FOREIGN) {
    // A hybrid ISO or a boot sector may hold any bytes, but none of these magics can start one and still boot.
    if (!starts(magic, offset)) continue
    refuseImage(`This is a ${name} image, which is not taken. ${hint ?? CONVERT_HINT}`, 'unsupported_format')
  }
  for (const { name, magic } of ARCHIVES) {
    if (!starts(magic)) continue
    refuseImage(`This is a ${name} archive. Unpack it and upload the image inside.`, 'unsupported_format')
  }
  for (const { method, magic } of COMPRESSED) if (starts(magic)) return { is: 'compressed', method }
  if (starts(latin('ustar'), 257)) return { is: 'tar' }
  if (await isVhdAtItsEnd(reader)) return disk('vpc', (await inspectVhd(reader)).virtualSizeBytes)

  const iso = await readIso(reader)
  // A CD is read in sectors of 2048 bytes; QEMU rounds the last one, so no size check beyond the descriptors.
  if (iso !== null) {
    return { is: 'image', facts: { kind: 'iso', format: 'raw', virtualSizeBytes: reader.sizeBytes, ...iso } }
  }
  if (await looksLikeDisk(reader, head)) {
    if (reader.sizeBytes % SECTOR !== 0) {
      refuseImage(
        'This looks like a raw disk, but its size is not a multiple of 512 bytes: the file is probably cut off.',
      )
    }
    return disk('raw', reader.sizeBytes)
  }
  return refuseImage(
    'This is neither an ISO image, nor a disk image of a known format, nor a raw disk with a boot sector, partition table or file system. Check that the file is complete.',
  )
}

/** Formats recognised by their end. @throws EngineError for an Apple disk image */
async function isVhdAtItsEnd(reader: BoundedReader): Promise<boolean> {
  if (reader.sizeBytes < SECTOR) return false
  const tail = await reader.read(reader.sizeBytes - SECTOR, SECTOR)
  if (tail.subarray(0, 4).equals(latin('koly'))) {
    refuseImage('This is an Apple DMG image, which is not taken. Convert it to ISO first.', 'unsupported_format')
  }
  return tail.subarray(0, VHD_MAGIC.length).equals(VHD_MAGIC)
}

/** A boot signature, a GPT, or a file system that fills the whole disk. */
async function looksLikeDisk(reader: BoundedReader, head: Buffer): Promise<boolean> {
  if (head.length >= SECTOR && head[510] === 0x55 && head[511] === 0xaa) return true
  if (head.subarray(SECTOR, SECTOR + 8).equals(latin('EFI PART'))) return true
  const isExt = head.length >= 1082 && head.readUInt16LE(1080) === 0xef53
  const isXfs = head.subarray(0, 4).equals(latin('XFSB'))
  if (isExt || isXfs) return true
  return (await reader.read(64 * 1024 + 64, 8)).equals(latin('_BHRfS_M'))
}
