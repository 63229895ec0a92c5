/**
 * Completes package-lock.json after a dependency change.
 *
 * Some registry mirrors lag with binary packages of other platforms; `npm install` then leaves those optional
 * entries out and `npm ci` refuses the lockfile ("Missing: … from lock file"). This writes the entries npm would
 * have written: version, optional, and the os/cpu/libc fields that keep them from being fetched here.
 * `--check` changes nothing and exits 1 when something is missing.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const LOCK = 'package-lock.json'
const OS = /(win32|windows|darwin|linux|android|freebsd|openharmony|netbsd|openbsd|sunos|aix)/
const CPU =
  /(?:^|[^a-z0-9])(wasm32|arm64|aarch64|x64|ia32|riscv64|ppc64|s390x|loong64|mips64el|arm)(?=$|[^a-z0-9]|gnueabihf|musleabihf)/

const lock = JSON.parse(readFileSync(LOCK, 'utf8'))
const packages = lock.packages

/** npm's own look-up: the nearest node_modules upwards from `from`. */
function isLocked(from, name) {
  for (let dir = from; ; ) {
    if (packages[`${dir ? `${dir}/` : ''}node_modules/${name}`]) return true
    if (dir === '') return false
    const cut = dir.lastIndexOf('node_modules/')
    dir = cut <= 0 ? '' : dir.slice(0, cut - 1)
  }
}

const added = []
for (const [path, entry] of Object.entries(packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isLocked(path, name)) continue
    const os = OS.exec(name)?.[1]
    const cpu = CPU.exec(name)?.[1]
    if (!os && !cpu) {
      console.error(`fix-lock: ${name} is missing but does not look like a platform package; run npm install again`)
      process.exitCode = 1
      continue
    }
    packages[`node_modules/${name}`] = {
      version: range.replace(/^[\^~]/, ''),
      ...(entry.dev && { dev: true }),
      optional: true,
      ...(os && { os: [os === 'windows' ? 'win32' : os] }),
      ...(cpu && { cpu: [cpu === 'aarch64' ? 'arm64' : cpu] }),
      ...(os === 'linux' && { libc: [name.includes('musl') ? 'musl' : 'glibc'] }),
    }
    added.push(name)
  }
}
if (added.length === 0) {
  console.log('fix-lock: complete')
} else if (process.argv.includes('--check')) {
  console.error(`fix-lock: missing from ${LOCK}: ${added.join(', ')}\nRun: node scripts/fix-lock.mjs`)
  process.exitCode = 1
} else {
  lock.packages = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
  writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`fix-lock: added ${added.length} entries`)
}
