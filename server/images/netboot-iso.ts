/**
 * Debian ships its network installer as kernel and initial RAM disk (package debian-installer-12-netboot-amd64), not
 * as a medium. Where GRUB's own tool for rescue media is installed, they are put on a bootable ISO, for BIOS and, with
 * GRUB's EFI modules, for UEFI. Everything runs in the tool sandbox on files of the distribution.
 */
import { copyFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { findProgram, type ToolSandbox } from '#server/storage/sandbox.ts'

const NETBOOT_DIRS = ['/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64']
const GRUB_BIOS_MODULES = '/usr/lib/grub/i386-pc'
const BUILD_TIMEOUT_MS = 120_000
/** GRUB, its modules and the file system's own blocks. */
const OVERHEAD_BYTES = 16 * 2 ** 20

const MENU = `serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=10
menuentry "Install Debian over the network" {
  linux /install/linux
  initrd /install/initrd.gz
}
menuentry "Install Debian over the network, on the serial console" {
  linux /install/linux console=ttyS0,115200n8
  initrd /install/initrd.gz
}
`

export type Netboot =
  | { readonly available: true; readonly dir: string; readonly program: string; readonly sizeBytes: number }
  | { readonly available: false; readonly packages: readonly string[]; readonly reason: string }

/** What is there, or which packages bring it. */
export async function findNetboot(): Promise<Netboot> {
  let dir: string | null = null
  let bytes = 0
  for (const candidate of NETBOOT_DIRS) {
    const facts = await Promise.all(['linux', 'initrd.gz'].map((name) => stat(join(candidate, name)).catch(() => null)))
    if (facts.some((one) => one === null)) continue
    dir = candidate
    bytes = facts.reduce((sum, one) => sum + (one?.size ?? 0), 0)
  }
  const program = findProgram('grub-mkrescue')
  const hasModules = await readdir(GRUB_BIOS_MODULES).then(
    () => true,
    () => false,
  )
  const packages = [
    ...(dir === null ? ['debian-installer-12-netboot-amd64'] : []),
    ...(program === null ? ['grub-common'] : []),
    ...(hasModules ? [] : ['grub-pc-bin']),
    ...(findProgram('xorriso') === null ? ['xorriso'] : []),
  ]
  if (dir !== null && program !== null && packages.length === 0) {
    return { available: true, dir, program, sizeBytes: bytes + OVERHEAD_BYTES }
  }
  return {
    available: false,
    packages,
    reason: `Debian ships the installer as loose files; making a medium of them needs ${packages.join(', ')} on the host.`,
  }
}

/**
 * @param stage an empty directory of ours; the ISO and the copies stay in it
 * @returns path of the ISO
 * @throws EngineError internal, no_space; the signal's reason
 */
export async function buildNetbootIso(
  sandbox: ToolSandbox,
  netboot: Extract<Netboot, { available: true }>,
  stage: string,
  signal: AbortSignal,
): Promise<string> {
  const tree = join(stage, 'tree')
  const iso = join(stage, 'netboot.iso')
  await mkdir(join(tree, 'boot/grub'), { recursive: true })
  await mkdir(join(tree, 'install'))
  await writeFile(join(tree, 'boot/grub/grub.cfg'), MENU)
  for (const name of ['linux', 'initrd.gz']) await copyFile(join(netboot.dir, name), join(tree, 'install', name))
  const result = await sandbox.run({
    program: netboot.program,
    args: ['-o', iso, tree, '--', '-volid', 'DEBIAN_NETBOOT'],
    readable: [],
    writable: [stage],
    timeoutMs: BUILD_TIMEOUT_MS,
    maxFileBytes: null,
    signal,
  })
  if (result.exitCode !== 0) {
    const full = /No space left/.test(result.stderr)
    throw new EngineError(
      full ? 'no_space' : 'internal',
      full ? 'The disk became full while the medium was made.' : 'GRUB’s tool could not make the medium.',
      { cause: new Error(result.stderr) },
    )
  }
  return iso
}
