/**
 * Kernels for test guests from Debian's packages: downloaded and unpacked, never installed.
 *
 * `generic` has AHCI, DRM and USB and thus drives the default machine; its image is xz-compressed and boots slower.
 * `cloud` boots twice as fast but sees virtio devices alone.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { cached, dropOthers, keyOf } from './cache.ts'
import { BASIC_MODULES, DEVICE_MODULES } from './modules.ts'
import { run } from './tools.ts'

export type KernelFlavour = 'cloud' | 'generic'

export interface Kernel {
  readonly flavour: KernelFlavour
  /** `uname -r`. */
  readonly release: string
  readonly vmlinuz: string
  /** Directory that holds `lib/modules/<release>` with all modules any guest of this kernel may want. */
  readonly modulesRoot: string
}

const MODULES = { cloud: BASIC_MODULES, generic: DEVICE_MODULES } as const
const PACKAGE = {
  cloud: /^linux-image-(6\.1\.0-(\d+)-cloud-amd64)$/,
  generic: /^linux-image-(6\.1\.0-(\d+)-amd64)$/,
} as const

/**
 * A kernel out of the cache, or the newest one apt knows.
 * @throws Error when there is none in the cache and apt cannot get one
 */
export async function ensureKernel(flavour: KernelFlavour): Promise<Kernel> {
  const prefix = `kernel-${flavour}`
  const path = await cached(`${prefix}-${keyOf(...MODULES[flavour])}`, async (scratch) => {
    const name = await newestPackage(flavour)
    const release = PACKAGE[flavour].exec(name)?.[1]
    if (release === undefined) throw new Error(`${name} is not a kernel package`)
    await run('apt-get', ['download', name], { cwd: scratch, timeoutMs: 300_000 })
    const deb = readdirSync(scratch).find((file) => file.endsWith('.deb'))
    if (deb === undefined) throw new Error(`apt-get download ${name} left no package`)
    const unpacked = join(scratch, 'unpacked')
    await run('dpkg-deb', ['-x', join(scratch, deb), unpacked])
    await copyModules(unpacked, release, MODULES[flavour], scratch)
    copyFileSync(join(unpacked, 'boot', `vmlinuz-${release}`), join(scratch, 'vmlinuz'))
    rmSync(unpacked, { recursive: true })
    rmSync(join(scratch, deb))
    writeFileSync(join(scratch, 'release'), release)
  })
  dropOthers(prefix, basename(path))
  return {
    flavour,
    release: readFileSync(join(path, 'release'), 'utf8'),
    vmlinuz: join(path, 'vmlinuz'),
    modulesRoot: path,
  }
}

async function newestPackage(flavour: KernelFlavour): Promise<string> {
  const list = async () => {
    const names = await run('apt-cache', ['pkgnames', 'linux-image-6.1.0-']).catch(() => '')
    const abi = (name: string) => Number(PACKAGE[flavour].exec(name)?.[2] ?? -1)
    return names
      .split('\n')
      .filter((name) => abi(name) >= 0)
      .sort((a, b) => abi(b) - abi(a))
  }
  let [newest] = await list()
  if (newest === undefined) {
    // A fresh container carries no package lists.
    const isRoot = process.getuid?.() === 0
    await run(isRoot ? 'apt-get' : 'sudo', isRoot ? ['update'] : ['-n', 'apt-get', 'update'], { timeoutMs: 300_000 })
    ;[newest] = await list()
  }
  if (newest === undefined) {
    throw new Error(`apt knows no ${flavour} kernel 6.1: test guests are built from the packages of Debian 12`)
  }
  return newest
}

/**
 * Copies modules with all they depend on from one root directory to another, and indexes them for modprobe.
 * @param names modules; those this kernel has built in or lacks are left out
 */
export async function copyModules(
  source: string,
  release: string,
  names: readonly string[],
  target: string,
): Promise<void> {
  const from = join(source, 'lib/modules', release)
  if (!existsSync(join(from, 'modules.dep'))) await run('depmod', ['-b', source, release])
  const to = join(target, 'lib/modules', release)
  const keep = (name: string) => {
    mkdirSync(dirname(join(to, name)), { recursive: true })
    copyFileSync(join(from, name), join(to, name))
  }
  const needs = dependencies(readFileSync(join(from, 'modules.dep'), 'utf8'))
  for (const wanted of names) {
    const found = needs.get(wanted.replaceAll('-', '_'))
    for (const name of found ?? []) keep(name)
  }
  for (const name of ['modules.order', 'modules.builtin', 'modules.builtin.modinfo']) keep(name)
  await run('depmod', ['-b', target, release])
}

/** `modules.dep` → module name, with `_` for `-`, → its file followed by all files it needs (modules.dep(5)). */
function dependencies(text: string): Map<string, string[]> {
  const result = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [file, rest] = line.split(':')
    const name = file
      ?.split('/')
      .at(-1)
      ?.replace(/\.ko(\.\w+)?$/, '')
    if (file === undefined || rest === undefined || name === undefined) continue
    result.set(name.replaceAll('-', '_'), [file, ...rest.split(' ').filter((part) => part !== '')])
  }
  return result
}
