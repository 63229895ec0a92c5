/**
 * A firmware that does nothing: the fastest guest there is, for tests and benches of the dashboard itself. QEMU maps
 * a `-bios` image so that it ends at 4 GiB, and the processor starts 16 bytes before that end (Intel SDM vol. 3,
 * "First Instruction Executed").
 */
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CACHE_DIR } from './cache.ts'

const SIZE_BYTES = 64 * 1024
const RESET_VECTOR = SIZE_BYTES - 16
/** cli; hlt; jmp to the hlt: an interrupt that cannot be masked must not run on into the padding. */
const HALT = [0xfa, 0xf4, 0xeb, 0xfd]

/** @returns 64 KiB of hlt with the halting loop at the reset vector */
export function haltRom(): Buffer {
  const rom = Buffer.alloc(SIZE_BYTES, 0xf4)
  rom.set(HALT, RESET_VECTOR)
  return rom
}

/** @returns absolute path of the ROM, readable by every user QEMU may run as */
export function ensureHaltRom(): string {
  const path = join(CACHE_DIR, 'halt.rom')
  if (existsSync(path)) return path
  mkdirSync(CACHE_DIR, { recursive: true })
  const scratch = `${path}.${process.pid}`
  writeFileSync(scratch, haltRom())
  chmodSync(scratch, 0o644)
  renameSync(scratch, path)
  return path
}
