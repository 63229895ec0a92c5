/**
 * Enforces the import rules of `.dependency-cruiser.cjs`. Fails on a violation, and also when it saw hardly any
 * modules or no imports between them: a checker that cannot parse TypeScript reports success.
 *
 *   node scripts/check-imports.mjs [--root DIR] [--min-modules N]
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cruise } from 'dependency-cruiser'
import { findActs } from './root-acts.mjs'

const require = createRequire(import.meta.url)

const CHECKED = ['app', 'components', 'lib', 'server', 'cli', 'e2e', 'bench']
const home = resolve(dirname(fileURLToPath(import.meta.url)), '..')

const { values } = parseArgs({
  options: { root: { type: 'string', default: home }, 'min-modules': { type: 'string', default: '20' } },
})
const root = resolve(values.root)
const config = require(join(home, '.dependency-cruiser.cjs'))

// The syntax walker of @swc/core, which dependency-cruiser extends, throws on `using` and `await using`.
const { Visitor } = require('@swc/core/Visitor.js')
const { visitStatement } = Visitor.prototype
Visitor.prototype.visitStatement = function (statement) {
  if (statement.type !== 'UsingDeclaration') return visitStatement.call(this, statement)
  statement.decls = this.visitVariableDeclarators(statement.decls)
  return statement
}

const { output } = await cruise(
  CHECKED.filter((dir) => existsSync(join(root, dir))),
  {
    ...config.options,
    baseDir: root,
    ruleSet: { forbidden: config.forbidden },
    validate: true,
  },
  config.options.enhancedResolveOptions,
)
if (typeof output === 'string') throw new Error('dependency-cruiser answered in an unknown form')

const own = output.modules.filter((module) => CHECKED.some((dir) => module.source.startsWith(`${dir}/`)))
const imports = own.reduce((total, module) => total + module.dependencies.length, 0)
const { violations } = output.summary
for (const { rule, from, to, cycle } of violations) {
  const path = cycle?.length ? [from, ...cycle.map(({ name }) => name)].join(' → ') : `${from} → ${to}`
  const { comment } = config.forbidden.find(({ name }) => name === rule.name) ?? {}
  console.error(`${rule.name}: ${path}\n    ${comment ?? ''}`)
}
const acts = own.flatMap(({ source }) => findActs(source, readFileSync(join(root, source), 'utf8')))
for (const { name, path, line, comment } of acts) console.error(`${name}: ${path}:${line}\n    ${comment}`)
if (own.length < Number(values['min-modules']) || imports === 0) {
  console.error(`import rules: saw only ${own.length} modules and ${imports} imports: the parser is not working`)
  process.exitCode = 1
} else if (violations.length + acts.length > 0) {
  console.error(`import rules: ${violations.length + acts.length} violations in ${own.length} modules`)
  process.exitCode = 1
} else {
  console.log(`import rules: ${own.length} modules and ${imports} imports follow the rules`)
}
