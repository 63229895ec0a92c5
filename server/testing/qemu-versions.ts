/**
 * For tests: newer QEMUs beside the one that is installed. Debian's packages are unpacked into a cache, never installed,
 * and run through their own dynamic loader as ordinary processes that see the host's files.
 *
 *   node server/testing/qemu-versions.ts     gets them all, prints the paths
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { cached, dropOthers, keyOf } from '#e2e/guests/cache.ts'
import { run } from '#e2e/guests/tools.ts'

export type QemuVersion = '10.0' | '11.1'
export const QEMU_VERSIONS: readonly QemuVersion[] = ['10.0', '11.1']

export interface UnpackedQemu {
  /** The system emulator as `GUESTDECK_QEMU` takes it: a script that becomes QEMU, with the same pid. */
  readonly binary: string
  /** Its qemu-img, of the same kind. */
  readonly qemuImg: string
  /** What it calls itself, such as `10.0.13`. Backports move on: for `11.1` it may be newer. */
  readonly version: string
}

/** Suites of Debian; packages come from the last one that has them. */
const SUITES: Record<QemuVersion, readonly string[]> = {
  '10.0': ['trixie'],
  '11.1': ['trixie', 'trixie-backports'],
}
const PACKAGES = [
  ...['qemu-system-x86', 'qemu-utils', 'seabios', 'ipxe-qemu'],
  // A module QEMU misses in its own directory it looks for in the host's, where another version's may lie.
  ...['qemu-system-modules-opengl', 'qemu-system-modules-spice'],
]
/** What they depend on for rendering on a graphics card and for being installed: half of all bytes. */
const LEFT_OUT =
  /^(lib(llvm|z3|gl1-mesa|glx-mesa|semanage|sepol)|mesa-|iso-codes|passwd|base-passwd|login|openssl-provider|adduser|debconf|perl|x11-)/
const LEFT_OUT_FILES = ['doc', 'man', 'locale', 'info', 'lintian', 'bash-completion', 'gcc', 'gdb', 'icons']
const MIRROR = process.env.GUESTDECK_DEBIAN_MIRROR ?? 'http://deb.debian.org/debian'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const DOWNLOAD_TIMEOUT_MS = 300_000

const PLATFORMS: Partial<Record<NodeJS.Architecture, { debian: string; triplet: string; loader: string }>> = {
  x64: { debian: 'amd64', triplet: 'x86_64-linux-gnu', loader: 'usr/lib64/ld-linux-x86-64.so.2' },
  arm64: { debian: 'arm64', triplet: 'aarch64-linux-gnu', loader: 'usr/lib/ld-linux-aarch64.so.1' },
}

/**
 * A QEMU of that version out of the cache; the first time it is downloaded (55 MB) and unpacked (170 MB). Several
 * processes may ask at once. The cache is `GUESTDECK_TEST_CACHE` or `.cache/qemu` in the repository.
 * @throws Error when the packages cannot be had, or are not of that version
 */
export async function ensureQemu(wanted: QemuVersion): Promise<UnpackedQemu> {
  const cacheDir = findCacheDir()
  const prefix = `qemu-${wanted}`
  const key = keyOf(readFileSync(import.meta.filename), process.arch, MIRROR)
  const dir = await cached(
    `${prefix}-${key}`,
    async (scratch) => {
      try {
        await unpack(wanted, scratch)
      } catch (error) {
        throw new Error(
          `QEMU ${wanted} cannot be tested: its packages (Debian ${SUITES[wanted].join(' and ')}, ${MIRROR}) are not to ` +
            `be had. Is the mirror reachable? GUESTDECK_DEBIAN_MIRROR names another one.\n${String(error)}`,
          { cause: error },
        )
      }
    },
    cacheDir,
  )
  dropOthers(prefix, basename(dir), cacheDir)
  return {
    binary: join(dir, 'qemu-system-x86_64'),
    qemuImg: join(dir, 'qemu-img'),
    version: readFileSync(join(dir, 'version'), 'utf8'),
  }
}

async function unpack(wanted: QemuVersion, scratch: string): Promise<void> {
  const platform = PLATFORMS[process.arch]
  if (platform === undefined) throw new Error(`no packages for ${process.arch}`)
  const apt = join(scratch, 'apt')
  const root = join(scratch, 'root')
  for (const dir of [join(apt, 'lists/partial'), join(apt, 'archives/partial'), root]) {
    mkdirSync(dir, { recursive: true })
  }
  const suites = SUITES[wanted]
  writeFileSync(join(apt, 'status'), '')
  writeFileSync(
    join(apt, 'sources.list'),
    suites.map((suite) => `deb [signed-by=${KEYRING}] ${MIRROR} ${suite} main\n`).join(''),
  )
  const options = Object.entries({
    Dir: apt,
    'Dir::State': apt,
    'Dir::State::status': join(apt, 'status'),
    'Dir::Cache': apt,
    'Dir::Log': apt,
    'Dir::Etc::sourcelist': join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Architecture': platform.debian,
    'APT::Default-Release': suites.at(-1) ?? '',
    'APT::Install-Recommends': 'false',
    // A user of its own could not enter our scratch directory.
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    'Acquire::http::Timeout': '30',
    // Clocks of test machines are off at times; the signature is checked all the same.
    'Acquire::Check-Valid-Until': 'false',
  }).map(([name, value]) => `-o${name}=${value}`)
  const aptGet = (...args: string[]) =>
    run('apt-get', [...options, '-qq', ...args], { cwd: apt, timeoutMs: DOWNLOAD_TIMEOUT_MS })

  await aptGet('update', '--error-on=any')
  const uris = await aptGet('install', '--print-uris', '--yes', ...PACKAGES)
  const chosen = [...uris.matchAll(/^'\S+' ([^_\s]+)_([^_\s]+)_\S+\.deb /gm)].flatMap(([, name = '', version = '']) =>
    LEFT_OUT.test(name) ? [] : [`${name}=${decodeURIComponent(version)}`],
  )
  if (chosen.length < PACKAGES.length) throw new Error(`apt-get names no packages:\n${uris.slice(-500)}`)
  await aptGet('download', ...chosen)
  const excluded = LEFT_OUT_FILES.map((name) => `--exclude=./usr/share/${name}`).join(' ')
  const extract = `dpkg-deb --fsys-tarfile "$1" | tar -x --no-same-owner ${excluded} -C "$2"`
  const queue = readdirSync(apt).filter((name) => name.endsWith('.deb'))
  const worker = async () => {
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      await run('bash', ['-o', 'pipefail', '-c', extract, 'extract', join(apt, name), root])
    }
  }
  await Promise.all([worker(), worker()])
  rmSync(apt, { recursive: true })

  const { triplet, loader } = platform
  for (const name of ['qemu-system-x86_64', 'qemu-img']) {
    writeFileSync(join(scratch, name), wrapper(name, triplet, loader), { mode: 0o755 })
  }
  // QEMU runs as users of their own.
  chmodSync(scratch, 0o755)
  const banner = await run(join(scratch, 'qemu-system-x86_64'), ['--version'])
  const version = /version (\d+\.\d+\.\d+)/.exec(banner)?.[1]
  if (version === undefined || Number.parseFloat(version) < Number(wanted)) {
    throw new Error(`the packages hold another version: ${banner}`)
  }
  writeFileSync(join(scratch, 'version'), version)
}

/** `exec` all along: whoever starts it has QEMU itself as its child. */
function wrapper(name: string, triplet: string, loader: string): string {
  const isSystem = name.startsWith('qemu-system')
  const data = ['qemu', 'seabios'].map((dir) => `-L "$root/usr/share/${dir}" `).join('')
  return `#!/bin/sh
root=\${0%/*}/root
export QEMU_MODULE_DIR="$root/usr/lib/${triplet}/qemu"
exec "$root/${loader}" --inhibit-cache --library-path "$root/usr/lib/${triplet}" --argv0 "$0" \\
  "$root/usr/bin/${name}" ${isSystem ? data : ''}"$@"
`
}

/** Guests run as users of their own, who must be able to pass every directory on the way. */
function findCacheDir(): string {
  const given = process.env.GUESTDECK_TEST_CACHE
  if (given) return resolve(given)
  const own = resolve(import.meta.dirname, '../../.cache/qemu')
  if (process.getuid?.() !== 0 || isPassable(resolve(own, '../..'))) return own
  const shared = '/var/tmp/guestdeck-test-qemu'
  mkdirSync(shared, { recursive: true, mode: 0o755 })
  if (statSync(shared).uid !== 0) throw new Error(`${shared} is somebody else's: set GUESTDECK_TEST_CACHE`)
  return shared
}

function isPassable(path: string): boolean {
  const mayPass = (statSync(path).mode & 0o001) !== 0
  return mayPass && (path === '/' || isPassable(dirname(path)))
}

if (import.meta.main) {
  for (const version of QEMU_VERSIONS) {
    const startedAt = performance.now()
    process.stdout.write(`${JSON.stringify(await ensureQemu(version))}\n`)
    process.stderr.write(`${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  }
}
