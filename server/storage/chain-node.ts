/** Disks as chains of files, spelled out for QEMU's tools. Pure. */

export type DiskFormat = 'raw' | 'qcow2'

/** One file of a chain, its format named. */
export interface ChainFile {
  readonly path: string
  readonly format: DiskFormat
}

/**
 * A chain spelled out, so that no name written inside a file is ever followed. QEMU takes the word `json:` before an
 * object for a node of the block layer; paths are ours and absolute.
 * @param locking false: for who only reads, and must keep nobody from writing
 */
export function nodeName(chain: readonly ChainFile[], { locking = true }: { locking?: boolean } = {}): string {
  const node = ([file, ...below]: readonly ChainFile[]): object | null =>
    file === undefined
      ? null
      : {
          driver: file.format,
          ...(file.format === 'qcow2' && { backing: node(below) }),
          file: { driver: 'file', filename: file.path, ...(!locking && { locking: 'off' }) },
        }
  return `json:${JSON.stringify(node(chain))}`
}

/** The same in QEMU's dotted options, in which a comma is written twice. What lies below is read-only. */
export function dottedNode(chain: readonly ChainFile[], prefix = ''): string {
  const [file, ...below] = chain
  if (file === undefined) return ''
  return [
    `${prefix}driver=${file.format}`,
    `${prefix}file.driver=file`,
    `${prefix}file.filename=${file.path.replaceAll(',', ',,')}`,
    ...(prefix === '' ? [] : [`${prefix}read-only=on`]),
    ...(below.length > 0 ? [dottedNode(below, `${prefix}backing.`)] : []),
  ].join(',')
}
