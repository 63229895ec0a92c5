/** Sizes inside the program: bytes and MiB as plain numbers. How people read them is `lib/i18n/format.ts`. */

export const MIB = 1024 ** 2
export const GIB = 1024 ** 3

/** Smallest whole GiB that holds `bytes`, at least one. */
export function ceilGiB(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / GIB))
}
