/** The helper that copies disks starts locked in, wherever QEMU lies. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withBlockTool } from '#server/backup/block-tool.ts'
import { findProgram } from '#server/storage/sandbox.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-tool-'))
  mkdirSync(join(dir, 'qemu/bin'), { recursive: true })
  mkdirSync(join(dir, 'qemu/libexec'))
  mkdirSync(join(dir, 'qemu/secrets'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('a QEMU of the operator’s own opens disks locked in, with its own files and nobody else’s, also through a link', async () => {
  const installed = findProgram('qemu-system-x86_64')
  const binary = join(dir, 'qemu/bin/qemu-system-x86_64')
  // As with a build in /opt, the program alone is not enough.
  writeFileSync(join(dir, 'qemu/libexec/start'), `[ ! -e "${dir}/qemu/secrets" ] && exec ${installed} "$@"\n`)
  writeFileSync(binary, `#!/bin/sh\n. "${dir}/qemu/libexec/start"\n`)
  chmodSync(binary, 0o755)
  mkdirSync(join(dir, 'links'))
  symlinkSync(binary, join(dir, 'links/qemu'))
  const versions = new Set<string>()
  // The last one is found along PATH, as the configuration names it where nobody has.
  for (const way of [binary, join(dir, 'links/qemu'), 'qemu-system-x86_64']) {
    const confinement = { kind: 'jailed', readable: [], writable: [] } as const
    await withBlockTool({ binary: way, confinement, signal: AbortSignal.timeout(60_000) }, async (qmp) => {
      versions.add(JSON.stringify(await qmp.execute('query-version')))
    })
  }
  expect(versions.size).toBe(1)
})
