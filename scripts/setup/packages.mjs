/** Installs missing system packages, or says which one command would. */

import { findCommand } from './requirements.mjs'
import { capture, succeeds } from './run.mjs'
import { SetupError, say, since } from './ui.mjs'

/** @typedef {import('./requirements.mjs').Manager} Manager */
/** @typedef {import('./requirements.mjs').Requirement} Requirement */

/** @type {Record<Manager, { command: string, install: string[], refresh?: string[], env?: string[] }>} */
const MANAGERS = {
  apt: {
    command: 'apt-get',
    install: ['install', '--yes', '--no-install-recommends'],
    refresh: ['update'],
    env: ['DEBIAN_FRONTEND=noninteractive'],
  },
  dnf: { command: 'dnf', install: ['install', '--assumeyes', '--setopt=install_weak_deps=False'] },
  // Refreshing the database alone and then installing is what Arch calls a partial upgrade: -Sy is never right.
  pacman: { command: 'pacman', install: ['-S', '--needed', '--noconfirm'] },
  zypper: { command: 'zypper', install: ['--non-interactive', 'install', '--no-recommends'] },
}

/** @param {NodeJS.ProcessEnv} [env] @returns {Manager | null} */
export function findManager(env = process.env) {
  for (const name of /** @type {Manager[]} */ (['apt', 'dnf', 'pacman', 'zypper'])) {
    if (findCommand(MANAGERS[name].command, env)) return name
  }
  return null
}

/** @param {Manager} manager @param {Requirement[]} missing @returns {string[]} package names, each once */
export function packagesFor(manager, missing) {
  return [...new Set(missing.flatMap((requirement) => requirement.packages[manager]))]
}

/** @param {Manager} manager @param {string[]} packages @returns {string} the command for people to run */
export function installCommand(manager, packages) {
  const { command, install, refresh } = MANAGERS[manager]
  const line = (args) => ['sudo', command, ...args].join(' ')
  const installLine = line([...install.filter((option) => option !== '--non-interactive'), ...packages])
  return refresh ? `${line(refresh)} && ${installLine}` : installLine
}

/** How commands get root here, as a prefix; null when they cannot. */
function rootPrefix() {
  if (process.getuid?.() === 0) return []
  if (findCommand('sudo') && succeeds('sudo', ['-n', 'true'])) return ['sudo', '-n']
  return null
}

const lastLines = (output, count) => output.trimEnd().split('\n').slice(-count).join('\n')

/**
 * Sees to it that every requirement is met.
 * @param {Requirement[]} requirements
 * @param {{ mayInstall: boolean }} options
 * @throws {SetupError} when something is missing and cannot be installed here
 */
export async function ensureSystem(requirements, { mayInstall }) {
  const missing = requirements.filter((requirement) => !requirement.isPresent(process.env))
  if (missing.length === 0) return
  const names = missing.map((requirement) => requirement.what).join(', ')
  const manager = findManager()
  const packages = manager ? packagesFor(manager, missing) : []
  const advice = manager
    ? `Run this, then try again:\n\n  ${installCommand(manager, packages)}\n`
    : 'No known package manager (apt, dnf, pacman, zypper) was found: install it by hand, then try again.'

  if (!mayInstall) {
    say(`missing: ${names}. Going on without, because of --no-install. ${advice}`)
    return
  }
  const prefix = manager ? rootPrefix() : null
  if (!manager || !prefix) {
    const reason = manager ? ', and installing needs root (no password-less sudo here)' : ''
    throw new SetupError(`missing: ${names}${reason}. ${advice}`)
  }

  const { command, install, refresh, env = [] } = MANAGERS[manager]
  const [program, ...head] = [...prefix, 'env', ...env, command]
  say(`missing: ${names}. Installing with ${command}: ${packages.join(' ')}`)
  const startedAt = performance.now()
  if (refresh) {
    // A failed refresh is not the end: the lists already here may do.
    const refreshed = await capture(program, [...head, ...refresh])
    if (refreshed.code !== 0) say(`${command} ${refresh.join(' ')} failed:\n${lastLines(refreshed.output, 5)}`)
  }
  const installed = await capture(program, [...head, ...install, ...packages])
  if (installed.code !== 0) {
    throw new SetupError(
      `${command} could not install ${packages.join(' ')}:\n${lastLines(installed.output, 15)}\n${advice}`,
    )
  }
  const still = missing.filter((requirement) => !requirement.isPresent(process.env))
  if (still.length > 0) {
    const left = still.map((requirement) => requirement.what).join(', ')
    throw new SetupError(
      `${command} succeeded, yet this is still missing: ${left}. Install it by hand, then try again.`,
    )
  }
  say(`installed in ${since(startedAt)}`)
}
