/** Programs and files of this host that guests are made with, beside QEMU itself. Looked up now and then, never in a hot path. */
import { statSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import type { HostTool, HostTools, QemuCapabilities } from './types.ts'

const VERSION_TIMEOUT_MS = 3_000

/** virtiofsd stands outside of PATH: Debian 12, Fedora and RHEL, Debian 13, openSUSE, Arch. */
const VIRTIOFSD_PLACES = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd', '/usr/lib/virtiofsd', 'virtiofsd']

/** Where distributions' virtio-win packages put the CD; Debian and Arch have none of their own. */
const VIRTIO_WIN_PLACES = [
  '/usr/share/virtio-win/virtio-win.iso',
  '/usr/share/virtio/virtio-win.iso',
  '/var/lib/libvirt/images/virtio-win.iso',
]

/** Where firmware lies when QEMU does not tell. */
const DATA_DIRS = ['/usr/share/qemu', '/usr/share/seabios', '/usr/local/share/qemu']

interface FoundProgram {
  readonly path: string
  readonly version: string | null
  readonly text: string
}
/** What programs said of themselves, by their paths. */
type ToldVersions = Map<string, { readonly stamp: string; readonly found: FoundProgram }>

/** `findHostTools` for asking again and again: only programs whose files have changed are started. */
export function createToolFinder(virtiofsdPlaces = VIRTIOFSD_PLACES): () => Promise<HostTools> {
  const told: ToldVersions = new Map()
  return () => findHostTools(virtiofsdPlaces, told)
}

/** @param virtiofsdPlaces absolute paths or names for PATH, most wanted first */
export async function findHostTools(
  virtiofsdPlaces: readonly string[] = VIRTIOFSD_PLACES,
  told: ToldVersions = new Map(),
): Promise<HostTools> {
  const [swtpm, swtpmSetup, virtiofsd, ip, tc, taskset] = await Promise.all([
    findTool(['swtpm'], ['--version'], told),
    findTool(['swtpm_setup'], ['--version'], told),
    findVirtiofsd(virtiofsdPlaces, told),
    findTool(['ip'], ['-V'], told),
    findTool(['tc'], ['-V'], told),
    findTool(['taskset'], ['--version'], told),
  ])
  return { swtpm, swtpmSetup, virtiofsd, ip, tc, taskset }
}

async function findTool(
  places: readonly string[],
  versionArgs: readonly string[],
  told: ToldVersions,
): Promise<HostTool | null> {
  const found = await findWithVersion(places, versionArgs, told)
  return found === null ? null : { path: found.path, version: found.version }
}

async function findVirtiofsd(places: readonly string[], told: ToldVersions): Promise<HostTools['virtiofsd']> {
  const found = await findWithVersion(places, ['--version'], told)
  if (found === null) return null
  return { path: found.path, version: found.version, dialect: virtiofsdDialect(found.text) }
}

/** The daemon in C says who wrote QEMU; the one in Rust says its name and version alone (`virtiofsd 1.13.2`). */
export function virtiofsdDialect(versionText: string): 'c' | 'rust' {
  return /QEMU Project|Fabrice Bellard/.test(versionText) ? 'c' : 'rust'
}

async function findWithVersion(
  places: readonly string[],
  versionArgs: readonly string[],
  told: ToldVersions,
): Promise<FoundProgram | null> {
  for (const place of places) {
    const path = findExecutable(place)
    if (path === null) continue
    const stamp = stampOf(path)
    const known = told.get(path)
    if (known !== undefined && stamp !== null && known.stamp === stamp) return known.found
    const output = await captureOutput(path, versionArgs, { timeoutMs: VERSION_TIMEOUT_MS })
    const text = output === null ? '' : output.stdout || output.stderr
    const found = { path, version: /\d+(?:\.\d+)+/.exec(text)?.[0] ?? null, text }
    // One that did not tell may tell another time.
    if (stamp !== null && found.version !== null) told.set(path, { stamp, found })
    return found
  }
  return null
}

function stampOf(path: string): string | null {
  const facts = statSync(path, { throwIfNoEntry: false, bigint: true })
  return facts === undefined ? null : [facts.ino, facts.size, facts.mtimeNs, facts.ctimeNs].join()
}

/** Absolute path of the first that is there; null when none is. */
export function findVirtioWinIso(places: readonly string[] = VIRTIO_WIN_PLACES): string | null {
  return places.find(isFile) ?? null
}

/** @param dataDirs as QEMU tells them, in its order */
export function findMicrovmFirmware(dataDirs: readonly string[]): QemuCapabilities['microvmFirmware'] {
  const dirs = dataDirs.length === 0 ? DATA_DIRS : dataDirs.filter((dir) => isAbsolute(dir))
  const find = (name: string) => dirs.map((dir) => join(dir, name)).find(isFile) ?? null
  return { bios: find('bios-microvm.bin'), qboot: find('qboot.rom') }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
