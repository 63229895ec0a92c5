/**
 * Behind every npm script: puts in place whatever is missing, then does what was asked under the Node 24 that comes
 * with the dependencies. Plain JavaScript for Node 20 without dependencies, for nothing is installed when it starts.
 *
 *   node scripts/setup.mjs start|dev|test|check|e2e|bench|package [--no-install] [arguments of the command]
 */
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureBuild } from './setup/build.mjs'
import { ensureDependencies, findRuntime } from './setup/dependencies.mjs'
import { ensureSystem } from './setup/packages.mjs'
import { requirementsOf } from './setup/requirements.mjs'
import * as tasks from './setup/tasks.mjs'
import { SetupError, say } from './setup/ui.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

/** @type {Record<string, (task: import('./setup/tasks.mjs').Task) => Promise<number>>} */
const COMMANDS = {
  start: (task) => tasks.serve(task, { isDev: false }),
  dev: (task) => tasks.serve(task, { isDev: true }),
  test: tasks.test,
  check: tasks.check,
  e2e: tasks.e2e,
  bench: tasks.bench,
  package: tasks.makePackage,
}
const NEEDS_PAGES = new Set(['start', 'test', 'e2e', 'bench', 'package'])

async function main() {
  const [command = '', ...given] = process.argv.slice(2)
  const run = COMMANDS[command]
  if (!run) throw new SetupError(`unknown command "${command}": give one of ${Object.keys(COMMANDS).join(', ')}`)
  if (process.platform !== 'linux') throw new SetupError(`Guestdeck runs on Linux, this is ${process.platform}`)

  const mayInstall = !given.includes('--no-install')
  const args = given.filter((arg) => arg !== '--no-install')
  const isAsking = command === 'start' && args.some((arg) => arg === '--help' || arg === '-h' || arg === '--version')

  if (!isAsking) await ensureSystem(requirementsOf(command), { mayInstall })
  await ensureDependencies(root, { mayInstall })
  const runtime = await findRuntime(root)
  if (NEEDS_PAGES.has(command) && !args.includes('--api-only') && !isAsking) await ensureBuild(root, runtime)
  return run({ root, runtime, args })
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  say(error.message)
  process.exitCode = 1
}
