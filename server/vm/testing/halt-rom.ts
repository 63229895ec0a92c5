/** A guest of a few bytes for tests: a 64 KiB BIOS that halts, or does one other simple thing, for ever. */

const ROM_BYTES = 0x10000
/** Where an x86 processor begins: 16 bytes below the end of the ROM. */
const RESET_VECTOR = 0xfff0

function rom(code: readonly number[]): Buffer {
  const image = Buffer.alloc(ROM_BYTES)
  image.set(code, 0)
  // jmp near 0: relative to the end of this three-byte instruction.
  image[RESET_VECTOR] = 0xe9
  image.writeUInt16LE(-(RESET_VECTOR + 3) & 0xffff, RESET_VECTOR + 1)
  return image
}

/** cli; hlt; jmp back to hlt. Uses no host CPU. */
export const haltRom = (): Buffer => rom([0xfa, 0xf4, 0xeb, 0xfd])

/**
 * Powers itself off, as an operating system would by ACPI: on q35 the firmware sets the base of the power-management
 * registers (ICH9 PMBASE, PCI 00:1f.0 offset 0x40) and enables them (ACPI_CNTL, offset 0x44 bit 7), then a write of
 * SLP_EN with sleep type 0 to PM1_CNT (base + 4) means "off".
 */
export const poweroffRom = (): Buffer =>
  rom([
    0xfa, // cli
    ...outl(0xcf8, 0x8000f840), // select PMBASE
    ...outl(0xcfc, 0x00000601), // 0x600, I/O space
    ...outl(0xcf8, 0x8000f844), // select ACPI_CNTL
    ...outl(0xcfc, 0x00000080), // enable
    ...[0xba, 0x04, 0x06], // mov dx, 0x604
    ...[0xb8, 0x00, 0x20], // mov ax, 0x2000 (SLP_EN)
    0xef, // out dx, ax
    ...[0xf4, 0xeb, 0xfd], // hlt for ever
  ])

/** Says `text` on COM1 once, then halts. */
export const serialRom = (text: string): Buffer =>
  rom([0xfa, 0xba, 0xf8, 0x03, ...[...Buffer.from(text)].flatMap((byte) => [0xb0, byte, 0xee]), 0xf4, 0xeb, 0xfd])

/** mov edx, port; mov eax, value; out dx, eax in 16-bit code. */
function outl(port: number, value: number): number[] {
  return [
    ...[0xba, port & 0xff, port >> 8],
    ...[0x66, 0xb8, value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24],
    ...[0x66, 0xef],
  ]
}
