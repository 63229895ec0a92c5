#!/usr/bin/env node
/**
 * The `guestdeck` command. Plain JavaScript for whatever Node the system has: it only finds the Node 24 that comes
 * with the dependencies and runs the administration program under it.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const NEEDED_MAJOR = 24

function findNode() {
  const bundled = join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
  if (existsSync(bundled)) return bundled
  if (Number(process.versions.node.split('.')[0]) >= NEEDED_MAJOR) return process.execPath
  return null
}

const words = process.argv.slice(2)
if (words[0] === 'image' && words[1] === 'upload') {
  // A client of the API: it needs neither the data directory nor the dependencies.
  const { imageUpload } = await import('./image-upload.mjs')
  process.exit(await imageUpload(words.slice(2)))
}
if (words[0] === 'image') {
  process.stderr.write('guestdeck: the only command for images is: guestdeck image upload FILE (try --help)\n')
  process.exit(2)
}

const node = findNode()
if (node === null) {
  process.stderr.write(`guestdeck: needs Node ${NEEDED_MAJOR}, which comes with the dependencies; run npm start once\n`)
  process.exit(1)
}
const child = spawn(node, [join(root, 'server', 'admin.ts'), ...words], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  process.stderr.write(`guestdeck: cannot run ${node}: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + (signal === null ? 1 : constants.signals[signal])))
