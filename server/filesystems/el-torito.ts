/** How a disc can be started. Source: "El Torito" Bootable CD-ROM Format Specification 1.0; UEFI 2.10, 13.3.2. */
import { SECTOR } from './iso9660.ts'
import type { Bytes } from './types.ts'

export type BootMode = 'bios' | 'uefi'

const MAX_CATALOGUE_BYTES = SECTOR * 4
const ENTRY_BYTES = 32

/** In the order of the catalogue; empty: the disc starts nothing. */
export async function discBootModes(bytes: Bytes): Promise<BootMode[]> {
  const record = await bytes.read(17 * SECTOR, 75)
  if (record.length < 75 || record[0] !== 0 || record.toString('latin1', 1, 6) !== 'CD001') return []
  if (!record.toString('latin1', 7, 39).startsWith('EL TORITO SPECIFICATION')) return []
  const catalogue = await bytes.read(record.readUInt32LE(71) * SECTOR, MAX_CATALOGUE_BYTES)
  if (catalogue.length < 2 * ENTRY_BYTES || catalogue[0] !== 1 || catalogue.readUInt16LE(30) !== 0xaa55) return []
  const modes = new Set<BootMode>()
  const add = (platform: number) => {
    if (platform === 0) modes.add('bios')
    if (platform === 0xef) modes.add('uefi')
  }
  if (catalogue[ENTRY_BYTES] === 0x88) add(catalogue.readUInt8(1))
  let platform: number | null = null
  for (let at = 2 * ENTRY_BYTES; at + ENTRY_BYTES <= catalogue.length; at += ENTRY_BYTES) {
    const kind = catalogue.readUInt8(at)
    if (kind === 0x90 || kind === 0x91) platform = catalogue.readUInt8(at + 1)
    else if (kind === 0x88 && platform !== null) add(platform)
    else if (kind === 0) break
  }
  return [...modes]
}
