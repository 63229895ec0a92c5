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

/** @param virtiofsdPlaces absolute paths or names for PATH, most wanted first */
export async function findHostTools(virtiofsdPlaces: readonly string[] = VIRTIOFSD_PLACES): Promise<HostTools> {
  const [swtpm, swtpmSetup, virtiofsd, ip, tc, taskset] = await Promise.all([
    findTool(['swtpm'], ['--version']),
    findTool(['swtpm_setup'], ['--version']),
    findVirtiofsd(virtiofsdPlaces),
    findTool(['ip'], ['-V']),
    findTool(['tc'], ['-V']),
    findTool(['taskset'], ['--version']),
  ])
  return { swtpm, swtpmSetup, virtiofsd, ip, tc, taskset }
}

async function findTool(places: readonly string[], versionArgs: readonly string[]): Promise<HostTool | null> {
  const found = await findWithVersion(places, versionArgs)
  return found === null ? null : { path: found.path, version: found.version }
}

async function findVirtiofsd(places: readonly string[]): Promise<HostTools['virtiofsd']> {
  const found = await findWithVersion(places, ['--version'])
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
): Promise<{ path: string; version: string | null; text: string } | null> {
  for (const place of places) {
    const path = findExecutable(place)
    if (path === null) continue
    const output = await captureOutput(path, versionArgs, { timeoutMs: VERSION_TIMEOUT_MS })
    const text = output === null ? '' : output.stdout || output.stderr
    return { path, version: /\d+(?:\.\d+)+/.exec(text)?.[0] ?? null, text }
  }
  return null
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
