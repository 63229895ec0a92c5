/**
 * Reads the small files of /sys and /proc below a root, so that tests can stand up a tree of their own.
 * What is not there or cannot be read is null or empty: devices come and go while they are listed.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs'
import { basename, join } from 'node:path'

export class Tree {
  readonly #root: string

  /** @param root directory that stands for `/` */
  constructor(root: string = '/') {
    this.#root = root
  }

  path(path: string): string {
    return join(this.#root, path)
  }

  /** Trimmed; null when there is no such file. */
  text(path: string): string | null {
    try {
      return readFileSync(this.path(path), 'utf8').trim()
    } catch {
      return null
    }
  }

  /** A decimal number, or hexadecimal with `0x`; null when the file has none. */
  int(path: string): number | null {
    const text = this.text(path)
    return text !== null && /^(-?\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : null
  }

  /** Names in a directory, sorted with numbers in their order. */
  list(path: string): string[] {
    try {
      return readdirSync(this.path(path)).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    } catch {
      return []
    }
  }

  exists(path: string): boolean {
    try {
      lstatSync(this.path(path))
      return true
    } catch {
      // Not there, or below something that is no directory.
      return false
    }
  }

  stat(path: string): Stats | null {
    try {
      return statSync(this.path(path))
    } catch {
      return null
    }
  }

  /** Last name of a symbolic link's target: how sysfs names drivers, groups and classes. */
  link(path: string): string | null {
    try {
      return basename(readlinkSync(this.path(path)))
    } catch {
      return null
    }
  }

  /** Absolute path on this host with every link followed, or null. */
  real(path: string): string | null {
    try {
      return realpathSync(this.path(path))
    } catch {
      return null
    }
  }
}

/** The kernel's lists of numbers: `0-3,8` (Documentation/admin-guide/cputopology). */
export function parseList(text: string | null): number[] {
  const numbers: number[] = []
  for (const part of (text ?? '').split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim())
    if (match === null) continue
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])]
    for (let number = first; number <= last; number += 1) numbers.push(number)
  }
  return numbers
}
