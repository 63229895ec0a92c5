/**
 * The guest of device tests without what takes a third of its boot under emulation: Debian's generic kernel unpacks
 * itself with xz. Under a BIOS QEMU starts the unpacked kernel as well (PVH); UEFI does not. On q35 the kernel finds ACPI and
 * what is plugged in while it runs; on pc it finds no ACPI.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ensureDeviceGuest } from './build.ts'
import { cached, dropOthers, keyOf } from './cache.ts'

const XZ = Buffer.from('fd377a585a00', 'hex')

/** As `ensureDeviceGuest`, for machines with a BIOS. */
export async function ensureBiosDeviceGuest(): Promise<{ kernel: string; initrd: string; commandLine: string }> {
  const guest = await ensureDeviceGuest()
  const dir = await cached(`elf-${keyOf(basename(dirname(guest.kernel)))}`, async (scratch) => {
    const packed = payloadOf(readFileSync(guest.kernel))
    if (!packed.subarray(0, XZ.length).equals(XZ)) throw new Error(`${guest.kernel} is not packed with xz`)
    // After the stream comes its length.
    const elf = execFileSync('xz', ['-dc', '--single-stream'], { input: packed, maxBuffer: 2 ** 28 })
    writeFileSync(join(scratch, 'vmlinux'), elf)
    chmodSync(scratch, 0o755)
  })
  dropOthers('elf', basename(dir))
  return { ...guest, kernel: join(dir, 'vmlinux') }
}

/** Where a bzImage says that it keeps the kernel itself (kernel: Documentation/arch/x86/boot.rst, 2.08 and later). */
function payloadOf(image: Buffer): Buffer {
  const start = (image.readUInt8(0x1f1) + 1) * 512 + image.readUInt32LE(0x248)
  return image.subarray(start, start + image.readUInt32LE(0x24c))
}
