/**
 * Writes docs/attack-cases.md: every attack and fault the dashboard is built against, and the tests that name it in
 * their titles. `--check` compares instead.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SECTIONS, UNTESTED } from './attack-cases/cases.ts'

const ROOT = join(import.meta.dirname, '..')
const FILE = join(ROOT, 'docs/attack-cases.md')
const TESTS = ['server/**/*.test.ts', 'lib/**/*.test.ts', 'e2e/**/*.{e2e,test}.ts', 'scripts/package/*.test.ts']

const INTRO = `# Attacks and faults

Made from the titles of the tests by \`npm run gen:cases\`; edits here are lost. A test that proves a case has its id at
the end of its title; the sentences are in \`scripts/attack-cases/cases.ts\`.
`

export interface NamedTest {
  readonly file: string
  readonly ids: readonly string[]
}

/** Titles are strings that end with ids in parentheses; comments do not count. */
const TITLE = /(['"`])(?:\\.|(?!\1)[^\\\n])*\(([A-Z]\d{2}(?:, [A-Z]\d{2})*)\)\1/g

export const idsOf = (text: string): string[] => [...text.matchAll(TITLE)].flatMap(([, , ids = '']) => ids.split(', '))

export function namedTests(): NamedTest[] {
  return globSync(TESTS, { cwd: ROOT })
    .sort()
    .map((file) => ({ file, ids: [...new Set(idsOf(readFileSync(join(ROOT, file), 'utf8')))] }))
    .filter(({ ids }) => ids.length > 0)
}

export function attackCasesDoc(tests: readonly NamedTest[]): string {
  const shown = (id: string): string => {
    const files = tests.filter(({ ids }) => ids.includes(id)).map(({ file }) => `\`${file}\``)
    return files.length > 0 ? files.join(', ') : `None. ${UNTESTED[id] ?? ''}`.trim()
  }
  const sections = SECTIONS.map(({ title, cases }) => {
    const rows = Object.entries(cases).map(([id, sentence]) => `| ${id} | ${sentence} | ${shown(id)} |`)
    return [`## ${title}`, ['| Case | What must hold | Tests |', '|-|-|-|', ...rows].join('\n')].join('\n\n')
  })
  return `${[INTRO.trimEnd(), ...sections].join('\n\n')}\n`
}

/** Writes it, or says that it is not as it should be. */
export function writeAttackCases(isCheck: boolean): void {
  const text = attackCasesDoc(namedTests())
  if (!isCheck) {
    writeFileSync(FILE, text)
    console.log(`gen-attack-cases: wrote ${FILE}`)
  } else if (readFileSync(FILE, 'utf8') !== text) {
    console.error('gen-attack-cases: docs/attack-cases.md differs from the tests. Run: npm run gen:cases')
    process.exitCode = 1
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeAttackCases(process.argv.includes('--check'))
