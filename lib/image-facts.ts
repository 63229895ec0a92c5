/** What is known of an image, in words that are the same in every language. Pure. */
import type { Image } from './schema/image.ts'

/** For example `Debian GNU/Linux 12 · x86_64`. */
export const osText = ({ name, version, architecture }: NonNullable<Image['os']>): string =>
  [[name, version].filter(Boolean).join(' '), architecture].filter(Boolean).join(' · ')

const FIRMWARE = { bios: 'BIOS', uefi: 'UEFI' } as const
export const bootText = (modes: NonNullable<Image['bootModes']>): string =>
  modes.map((mode) => FIRMWARE[mode]).join(', ')
