/** The pages: built only when something they are made of changed. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture } from './run.mjs'
import { SetupError, say, since } from './ui.mjs'

/** Everything `next build` reads; what does not exist is left out. Tests beside the code do not count. */
const SOURCES = [
  'app',
  'components',
  'lib',
  'public',
  'next.config.ts',
  'postcss.config.mjs',
  'postcss.config.js',
  'postcss.config.json',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
]
const IS_TEST = /\.test\.tsx?$/

/**
 * @param {string} root
 * @returns {string} a hash over names and contents of all sources of the pages
 */
export function hashSources(root) {
  const hash = createHash('sha256')
  const add = (name) => {
    const path = join(root, name)
    const stat = statSync(path, { throwIfNoEntry: false })
    if (!stat) return
    if (stat.isDirectory()) {
      for (const entry of readdirSync(path).sort()) add(`${name}/${entry}`)
    } else if (stat.isFile() && !IS_TEST.test(name)) {
      const bytes = readFileSync(path)
      hash.update(`${name}\0${bytes.length}\0`).update(bytes)
    }
  }
  for (const name of SOURCES) add(name)
  return hash.digest('hex')
}

/**
 * Runs `next build` unless the last build was made from the very same sources.
 * @param {string} root
 * @param {string} runtime path of Node 24
 * @throws {SetupError} with the end of the build's output
 */
export async function ensureBuild(root, runtime) {
  const stamp = join(root, '.next/guestdeck-build')
  const hash = hashSources(root)
  const isBuilt = existsSync(join(root, '.next/BUILD_ID')) && existsSync(stamp)
  if (isBuilt && readFileSync(stamp, 'utf8').trim() === hash) return
  say('building the pages (next build)')
  const startedAt = performance.now()
  // Gone first: a build that is broken off must not pass for a good one.
  rmSync(stamp, { force: true })
  const { code, output } = await capture(runtime, [join(root, 'node_modules/next/dist/bin/next'), 'build'], {
    cwd: root,
    env: { ...process.env, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1' },
  })
  if (code !== 0) throw new SetupError(`next build failed with code ${code}:\n${output.trimEnd()}`)
  writeFileSync(stamp, `${hash}\n`)
  say(`pages built in ${since(startedAt)}`)
}
