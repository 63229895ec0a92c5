import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const SCRIPT = join(import.meta.dirname, 'check-imports.mjs')
const IMPORTS = {
  '#server/*': './server/*',
  '#lib/*': './lib/*',
  '#components/*': './components/*',
  '#app/*': './app/*',
}

let root
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'imports-'))
  write('package.json', JSON.stringify({ type: 'module', imports: IMPORTS }))
  write('lib/a.ts', "import { b } from './b.ts'\nexport const a: number = b\n")
  write('lib/b.ts', 'export const b: number = 1\n')
})
afterEach(() => rmSync(root, { recursive: true }))

function write(name, text) {
  mkdirSync(dirname(join(root, name)), { recursive: true })
  writeFileSync(join(root, name), text)
}

function check(...args) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [SCRIPT, '--root', root, ...(args.length > 0 ? args : ['--min-modules', '2'])],
    { encoding: 'utf8' },
  )
  return { status, text: stdout + stderr }
}

describe('import rules', () => {
  it('pass over modules that follow them', () => {
    const { status, text } = check()
    expect(text).toContain('2 modules and 1 imports')
    expect(status).toBe(0)
  })

  it('fail when hardly any modules were seen', () => {
    const { status, text } = check('--min-modules', '20')
    expect(text).toContain('saw only 2 modules')
    expect(status).toBe(1)
  })

  it('fail when no imports were seen', () => {
    write('lib/a.ts', 'export const a: number = 1\n')
    expect(check().text).toContain('0 imports')
    expect(check().status).toBe(1)
  })

  it('name every import that breaks one, and its rule', () => {
    const violations = [
      ['pages-never-engine', 'app/page.tsx', "import type { X } from '#server/x.ts'\nexport type Y = X\n"],
      ['pages-never-engine', 'lib/c.ts', "import type { X } from '#server/x.ts'\nexport type Y = X\n"],
      ['no-cycles', 'lib/d.ts', "import { e } from './e.ts'\nexport const d: number = e\n"],
      ['ui-knows-lib-only', 'components/ui/u.tsx', "import { w } from '#components/vm/w.tsx'\nexport const u = w\n"],
      ['lib-below-all', 'lib/f.ts', "export { w } from '#components/vm/w.tsx'\n"],
      ['browser-without-node', 'lib/g.ts', "import { join } from 'node:path'\nexport const g = join('a')\n"],
      [
        'pure-core-without-system',
        'server/spec/s.ts',
        "import { hostname } from 'node:os'\nexport const s = hostname()\n",
      ],
      ['pure-core-without-system', 'server/vm/transitions.ts', "export { readFileSync } from 'node:fs'\n"],
      ['pure-core-imports', 'server/spec/t.ts', "export { x } from '#server/x.ts'\n"],
      ['qmp-imports', 'server/qmp/p.ts', "export { x } from '#server/x.ts'\n"],
      ['store-alone-knows-the-database', 'server/db.ts', "export { DatabaseSync } from 'node:sqlite'\n"],
      ['engine-below-http', 'server/up.ts', "export { h } from '#server/http/h.ts'\n"],
      ['routes-through-the-engine', 'server/http/r.ts', "export { q } from '#server/qmp/q.ts'\n"],
      ['interfaces-by-the-launcher', 'server/vm/tap.ts', "export { x } from '#server/network/taps.ts'\n"],
      ['launcher-imports', 'server/launcher/l.ts', "export { h } from '#server/x.ts'\n"],
      ['cli-never-server', 'cli/c.ts', "export { x } from '#server/x.ts'\n"],
      ['main-imported-by-nobody', 'server/again.ts', "export { main } from './main.ts'\n"],
      ['no-test-code-in-production', 'server/double.ts', "export { x } from './fake-clock.ts'\n"],
      ['no-test-code-in-production', 'server/fixture.ts', "export { x } from './__fixtures__/x.ts'\n"],
      [
        'resolvable',
        'server/using-lost.ts',
        "export async function f() {\n  using x = await import('./nowhere.ts')\n}\n",
      ],
      ['resolvable', 'server/lost.ts', "export { x } from './nowhere.ts'\n"],
    ]
    write('server/x.ts', 'export type X = string\nexport const x = 1\n')
    write('server/main.ts', 'export const main = 1\n')
    write('server/network/taps.ts', 'export const x = 1\n')
    write('server/http/h.ts', 'export const h = 1\n')
    write('server/qmp/q.ts', 'export const q = 1\n')
    write('server/fake-clock.ts', 'export const x = 1\n')
    write('server/__fixtures__/x.ts', 'export const x = 1\n')
    write('server/using.ts', "export async function f() {\n  await using x = (await import('#lib/a.ts')) as never\n}\n")
    write('server/clock.test.ts', "export { x } from './fake-clock.ts'\nexport { main } from './x.ts'\n")
    write('components/vm/w.tsx', 'export const w = 1\n')
    write('lib/e.ts', 'export const e: number = 1\n')
    expect(check()).toMatchObject({ status: 0 })

    for (const [, path, text] of violations) write(path, text)
    write('lib/e.ts', "import { d } from './d.ts'\nexport const e: number = d\n")
    const { status, text } = check()
    expect(status).toBe(1)
    for (const [rule, path] of violations) expect(text).toContain(`${rule}: ${path} → `)
  })

  it('name every line that does what only the launcher may', () => {
    const acts = [
      [
        'owners-by-the-launcher',
        'server/a.ts',
        "import { chown } from 'node:fs/promises'\nexport const a = chown\n",
        1,
      ],
      ['owners-by-the-launcher', 'server/b.ts', 'export const b = (handle) =>\n  handle.chown(1, 1)\n', 2],
      ['owners-by-the-launcher', 'server/c.ts', 'export const c = \'chown 1:1 -- "$1"\'\n', 1],
      ['signals-by-the-launcher', 'server/d.ts', "export const d = () => process.kill(7, 'SIGKILL')\n", 1],
      ['users-by-the-launcher', 'server/e.ts', "export const e = (uid) => ['--reuid=' + uid]\n", 1],
      ['users-by-the-launcher', 'server/f.ts', 'export const f = () => process.setuid(7)\n', 1],
    ]
    write('server/launcher/own.ts', acts.map(([, , text]) => text).join(''))
    write('server/own.test.ts', acts.map(([, , text]) => text).join(''))
    write('server/about.ts', '// Elsewhere it is process.kill( that does it.\nexport const g = 1\n')
    expect(check()).toMatchObject({ status: 0 })
    for (const [, path, text] of acts) write(path, text)
    const { status, text } = check()
    expect(status).toBe(1)
    for (const [rule, path, , line] of acts) expect(text).toContain(`${rule}: ${path}:${line}\n`)
  })
})
