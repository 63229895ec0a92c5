/** What the npm scripts do once everything is in place. Each returns the exit code of the process. */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { findBrowser, findCommand } from './requirements.mjs'
import { closingLine, countPlaywright, countVitest, readCounts, sum } from './results.mjs'
import { exitCode, runInPlace } from './run.mjs'
import { say, since } from './ui.mjs'

/** Old space of the server in production, in MiB: Next keeps whatever it is given (measured 430 MB and more). */
const HEAP_MIB = 256

/** @typedef {{ root: string, runtime: string, args: string[] }} Task */

/** Environment of everything we start: our Node first in PATH, so that child processes find the same one. */
function environment({ root, runtime }, extra = {}) {
  const path = [dirname(runtime), join(root, 'node_modules/.bin'), process.env.PATH ?? '']
  const browser = findBrowser()
  return {
    ...process.env,
    PATH: path.join(delimiter),
    NEXT_TELEMETRY_DISABLED: '1',
    ...(browser && { GUESTDECK_CHROMIUM: browser }),
    ...extra,
  }
}

/** A tool of node_modules as arguments of our Node; `.bin` scripts would look for a `node` of their own. */
const TOOLS = {
  biome: 'node_modules/@biomejs/biome/bin/biome',
  playwright: 'node_modules/@playwright/test/cli.js',
  tsc: 'node_modules/typescript/bin/tsc',
  vitest: 'node_modules/vitest/vitest.mjs',
}

/** @param {Task} task @param {string[]} nodeArgs @param {Record<string, string>} [extra] */
async function node(task, nodeArgs, extra) {
  const { code, signal } = await runInPlace(task.runtime, nodeArgs, { cwd: task.root, env: environment(task, extra) })
  return exitCode(code, signal)
}

/**
 * Puts the server in our place as well as Node can: its code is our code, and a signal that ends it ends us.
 * @param {Task} task
 */
export async function serve(task, { isDev }) {
  const serverArgs = isDev
    ? ['server/main.ts', '--dev', ...task.args]
    : [`--max-old-space-size=${HEAP_MIB}`, 'server/main.ts', ...task.args]
  // Should we be killed, the server must not stay behind and hold the port with nobody to stop it.
  const setpriv = findCommand('setpriv')
  const [command, ...head] = setpriv ? [setpriv, '--pdeathsig', 'TERM', '--', task.runtime] : [task.runtime]
  const { code, signal } = await runInPlace(command, [...head, ...serverArgs], {
    cwd: task.root,
    env: environment(task, {
      NODE_ENV: isDev ? 'development' : 'production',
      // A third of a start goes into stripping types and compiling what did not change since the last one.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(task.root, '.cache/node'),
    }),
  })
  return exitCode(code, signal)
}

/** @param {Task} task */
export const makePackage = (task) => node(task, ['scripts/package/build-deb.mjs', ...task.args])

/** @param {Task} task */
export const bench = (task) => node(task, ['bench/run.ts', ...task.args], { NODE_ENV: 'production' })

/** @param {Task} task */
export const e2e = (task) => node(task, [TOOLS.playwright, 'test', ...task.args])

/** @param {Task} task `--without-tests` leaves the unit tests out, for who runs them all anyway */
export async function check(task) {
  const steps = [
    { name: 'types', args: [TOOLS.tsc, '--noEmit'] },
    { name: 'format and lint', args: [TOOLS.biome, 'ci', '.'] },
    { name: 'import rules', args: ['scripts/check-imports.mjs'] },
    ...(task.args.includes('--without-tests')
      ? []
      : [{ name: 'unit tests', args: [TOOLS.vitest, 'run', '--project', 'unit'] }]),
  ]
  if (existsSync(join(task.root, 'scripts/gen-openapi.ts'))) {
    steps.push({ name: 'openapi.json', args: ['scripts/gen-openapi.ts', '--check'] })
  }
  const startedAt = performance.now()
  const failed = []
  for (const { name, args } of steps) {
    const stepStartedAt = performance.now()
    say(`check: ${name}`)
    const code = await node(task, args)
    say(`check: ${name} ${code === 0 ? 'passed' : `FAILED with code ${code}`} in ${since(stepStartedAt)}`)
    if (code !== 0) failed.push(name)
  }
  say(
    failed.length === 0
      ? `check passed in ${since(startedAt)}`
      : `check FAILED in ${since(startedAt)}: ${failed.join(', ')}`,
  )
  return failed.length === 0 ? 0 : 1
}

/** @param {Task} task every test there is; the last line says how many passed, failed and were skipped */
export async function test(task) {
  const reports = join(task.root, '.cache/test-reports')
  mkdirSync(reports, { recursive: true })
  const vitest = (project) => ({
    name: `${project} tests`,
    report: join(reports, `${project}.json`),
    count: countVitest,
    args: (report) => [
      TOOLS.vitest,
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
  })
  const steps = [
    vitest('unit'),
    vitest('int'),
    {
      name: 'browser tests',
      report: join(reports, 'e2e.json'),
      count: countPlaywright,
      args: () => [TOOLS.playwright, 'test'],
    },
  ]
  const all = []
  for (const { name, report, count, args } of steps) {
    const startedAt = performance.now()
    say(`test: ${name}`)
    rmSync(report, { force: true })
    const code = await node(task, args(report), { GUESTDECK_E2E_REPORT: report })
    const counts = readCounts(report, code, count)
    all.push(counts)
    say(`test: ${name}: ${closingLine(counts)} in ${since(startedAt)}`)
  }
  const total = sum(all)
  // A second attempt keeps a busy machine from failing a run; it must not keep a bad test from being seen.
  for (const name of total.flaky) say(`flaky: ${name} passed only on its second attempt`)
  process.stdout.write(`${closingLine(total)}\n`)
  return total.failed === 0 && total.passed > 0 ? 0 : 1
}
