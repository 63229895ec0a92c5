/**
 * Decides what an uploaded or registered file is, from its bytes alone; its name plays no part.
 * Nothing here runs QEMU, follows a reference in the file, or reads more than a few KiB.
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { inspectQcow2, MAX_VIRTUAL_BYTES, QCOW2_MAGIC } from './qcow2.ts'
import { type BoundedReader, refuseImage } from './reader.ts'

export interface ImageFacts {
  readonly kind: 'iso' | 'disk'
  readonly format: 'raw' | 'qcow2'
  readonly virtualSizeBytes: number
  /** Volume id of an ISO, cleaned; null when it has none. */
  readonly label: string | null
  readonly guest: VmSpec['guest'] | null
}

const ISO_DESCRIPTORS_AT = 16 * 2048
const SECTOR = 512

/** Formats we know and do not take yet. Offsets and magics from QEMU's block drivers. */
const FOREIGN: readonly { name: string; offset: number; magic: Buffer }[] = [
  { name: 'QED', offset: 0, magic: Buffer.from('QED\0', 'latin1') },
  { name: 'VMDK', offset: 0, magic: Buffer.from('KDMV', 'latin1') },
  { name: 'VMDK (ESX sparse)', offset: 0, magic: Buffer.from('COWD', 'latin1') },
  { name: 'VMDK (SE sparse)', offset: 0, magic: Buffer.from('beefcafe', 'hex').reverse() },
  { name: 'VMDK descriptor', offset: 0, magic: Buffer.from('# Disk DescriptorFile', 'latin1') },
  { name: 'VHDX', offset: 0, magic: Buffer.from('vhdxfile', 'latin1') },
  { name: 'VHD', offset: 0, magic: Buffer.from('conectix', 'latin1') },
  { name: 'VDI', offset: 64, magic: Buffer.from('7f10dabe', 'hex') },
  { name: 'LUKS', offset: 0, magic: Buffer.from('4c554b53babe', 'hex') },
  { name: 'Parallels', offset: 0, magic: Buffer.from('WithoutFreeSpace', 'latin1') },
  { name: 'Parallels', offset: 0, magic: Buffer.from('WithouFreSpacExt', 'latin1') },
  { name: 'Bochs', offset: 0, magic: Buffer.from('Bochs Virtual HD Image', 'latin1') },
  { name: 'cloop', offset: 0, magic: Buffer.from('#!/bin/sh\n#V2.0 Format\n', 'latin1') },
  { name: 'gzip archive', offset: 0, magic: Buffer.from('1f8b', 'hex') },
  { name: 'xz archive', offset: 0, magic: Buffer.from('fd377a585a00', 'hex') },
  { name: 'zstd archive', offset: 0, magic: Buffer.from('28b52ffd', 'hex') },
  { name: 'bzip2 archive', offset: 0, magic: Buffer.from('BZh', 'latin1') },
  { name: 'zip archive', offset: 0, magic: Buffer.from('504b0304', 'hex') },
  { name: '7-Zip archive', offset: 0, magic: Buffer.from('377abcaf271c', 'hex') },
  { name: 'tar or OVA archive', offset: 257, magic: Buffer.from('ustar', 'latin1') },
]
const ARCHIVE = /archive/

/** @throws EngineError image_refused with a sentence that names what was found and what to do */
export async function inspectImage(reader: BoundedReader): Promise<ImageFacts> {
  if (reader.sizeBytes === 0) refuseImage('The file is empty.')
  if (reader.sizeBytes > MAX_VIRTUAL_BYTES) refuseImage('The file is larger than 64 TiB.')
  const head = await reader.read(0, 1024)

  // Formats with a magic of their own win over everything: QEMU would recognise them when probing.
  if (head.length >= 4 && head.readUInt32BE(0) === QCOW2_MAGIC) {
    if (head.length < 8) refuseImage('This qcow2 file is cut off: its header is incomplete.')
    const qcow2 = await inspectQcow2(reader)
    return { kind: 'disk', format: 'qcow2', virtualSizeBytes: qcow2.virtualSizeBytes, label: null, guest: null }
  }
  for (const { name, offset, magic } of FOREIGN) {
    if (!head.subarray(offset, offset + magic.length).equals(magic)) continue
    // A hybrid ISO or a boot sector may hold any bytes, but none of these magics can start one and still boot.
    if (ARCHIVE.test(name)) refuseImage(`This is a ${name}. Unpack it and upload the image inside.`)
    refuseImage(
      `This is a ${name} image, which this release cannot use. Importing it comes later; until then convert it: qemu-img convert -O qcow2 IN OUT.`,
    )
  }
  await refuseTrailers(reader)

  const iso = await readIso(reader)
  if (iso !== null) return iso

  const hasBootSignature = head.length >= SECTOR && head[510] === 0x55 && head[511] === 0xaa
  const hasGpt = head.subarray(SECTOR, SECTOR + 8).equals(Buffer.from('EFI PART', 'latin1'))
  if (hasBootSignature || hasGpt) {
    if (reader.sizeBytes % SECTOR !== 0) {
      refuseImage(
        'This looks like a raw disk, but its size is not a multiple of 512 bytes: the file is probably cut off.',
      )
    }
    return { kind: 'disk', format: 'raw', virtualSizeBytes: reader.sizeBytes, label: null, guest: null }
  }
  return refuseImage(
    'This is neither an ISO image, nor a qcow2 image, nor a raw disk with a boot sector or partition table. Check that the file is complete.',
  )
}

/** Formats recognised by their end. */
async function refuseTrailers(reader: BoundedReader): Promise<void> {
  if (reader.sizeBytes < SECTOR) return
  const tail = await reader.read(reader.sizeBytes - SECTOR, SECTOR)
  if (tail.subarray(0, 8).equals(Buffer.from('conectix', 'latin1'))) {
    refuseImage(
      'This is a VHD image, which this release cannot use. Importing it comes later; until then convert it: qemu-img convert -f vpc -O qcow2 IN OUT.',
    )
  }
  if (tail.subarray(0, 4).equals(Buffer.from('koly', 'latin1'))) {
    refuseImage('This is an Apple DMG image, which this release cannot use. Convert it to ISO first.')
  }
}

/** ECMA-119 volume descriptors; UDF-only discs (NSR0x in the same place) count as ISO too. */
async function readIso(reader: BoundedReader): Promise<ImageFacts | null> {
  let label: string | null = null
  let found = false
  for (let index = 0; index < 32; index++) {
    const sector = await reader.read(ISO_DESCRIPTORS_AT + index * 2048, 2048)
    if (sector.length < 2048) break
    const magic = sector.toString('latin1', 1, 6)
    if (magic === 'CD001') {
      found = true
      const type = sector[0]
      if (type === 1) label = cleanLabel(sector.toString('latin1', 40, 72))
      if (type === 255) break
      continue
    }
    if (magic === 'BEA01' || magic === 'NSR02' || magic === 'NSR03') {
      found = true
      continue
    }
    break
  }
  if (!found) return null
  // A CD is read in sectors of 2048 bytes; QEMU rounds the last one, so no size check beyond the descriptors.
  return { kind: 'iso', format: 'raw', virtualSizeBytes: reader.sizeBytes, label, guest: guessGuest(label) }
}

function cleanLabel(raw: string): string | null {
  const text = raw.replace(/[^\x20-\x7e]/g, ' ').trim()
  return text === '' ? null : text
}

const GUESSES: readonly [RegExp, VmSpec['guest']][] = [
  [/^(CCCOMA|CPBA|CENA|CPRA|SSS_|IR[1-9]_|GRMC|J_CCSA|ESD-ISO|DVD_ROM$|WIN|VIRTIO-WIN)|WINDOWS/i, 'windows'],
  [/BSD|DRAGONFLY|OPNSENSE|PFSENSE|^1[2-9]_[0-9]_RELEASE/i, 'bsd'],
  [
    /DEBIAN|^D-LIVE|UBUNTU|KUBUNTU|MINT|FEDORA|CENTOS|RHEL|ROCKY|ALMA|ORACLE|^OL-|SUSE|SLES|ARCH_|^ARCH|MANJARO|ALPINE|GENTOO|NIXOS|KALI|SLACK|VOID|PROXMOX|^PVE|COREOS|CLEAR|LINUX|TAILS|POP_OS|ELEMENTARY|ZORIN|PUPPY|TINYCORE|SYSRESC|RESCUE|CLONEZILLA|GPARTED/i,
    'linux',
  ],
]

/** Guest kind from a volume id; null when nothing is known. Pure. */
export function guessGuest(label: string | null): VmSpec['guest'] | null {
  if (label === null) return null
  return GUESSES.find(([pattern]) => pattern.test(label))?.[1] ?? null
}
