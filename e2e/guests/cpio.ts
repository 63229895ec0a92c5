/**
 * Writes a cpio archive in the "newc" format, which the Linux kernel unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export type CpioEntry =
  | { readonly path: string; readonly kind: 'directory'; readonly mode?: number }
  | { readonly path: string; readonly kind: 'file'; readonly bytes: Uint8Array; readonly mode?: number }
  | { readonly path: string; readonly kind: 'symlink'; readonly target: string }
  | { readonly path: string; readonly kind: 'device'; readonly major: number; readonly minor: number }

const TYPE = { directory: 0o040000, file: 0o100000, symlink: 0o120000, device: 0o020000 } as const
const TRAILER = 'TRAILER!!!'

/**
 * @param entries paths relative to the root without a leading slash; parents that are not among them are added.
 *   Everything belongs to root and carries time 0, so that equal entries give equal bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const all = new Map<string, CpioEntry>()
  for (const entry of entries) {
    const parts = entry.path.split('/')
    for (let length = 1; length < parts.length; length++) {
      const path = parts.slice(0, length).join('/')
      if (!all.has(path)) all.set(path, { path, kind: 'directory' })
    }
    all.set(entry.path, entry)
  }
  const chunks: Buffer[] = []
  let inode = 0
  for (const entry of all.values()) chunks.push(...record(entry, ++inode))
  chunks.push(header(TRAILER, 0, 0, 0, 0, 0), padded(Buffer.from(`${TRAILER}\0`), 110))
  return Buffer.concat(chunks)
}

function record(entry: CpioEntry, inode: number): Buffer[] {
  const content =
    entry.kind === 'file' ? entry.bytes : entry.kind === 'symlink' ? Buffer.from(entry.target) : new Uint8Array()
  const permissions = 'mode' in entry && entry.mode !== undefined ? entry.mode : entry.kind === 'file' ? 0o644 : 0o755
  const [major, minor] = entry.kind === 'device' ? [entry.major, entry.minor] : [0, 0]
  return [
    header(entry.path, inode, TYPE[entry.kind] | permissions, content.length, major, minor),
    padded(Buffer.from(`${entry.path}\0`), 110),
    padded(Buffer.from(content.buffer, content.byteOffset, content.byteLength), 0),
  ]
}

function header(name: string, inode: number, mode: number, size: number, major: number, minor: number): Buffer {
  const links = mode >> 12 === 0o04 ? 2 : 1
  const nameSize = Buffer.byteLength(name) + 1
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, nameSize, 0]
  return Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`, 'latin1')
}

/** Pads so that `offset` plus the length is a multiple of four, as every part of an archive must be. */
function padded(bytes: Buffer, offset: number): Buffer {
  const missing = (4 - ((offset + bytes.length) % 4)) % 4
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)])
}
