import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')
const read = (name) => readFileSync(join(root, name), 'utf8')
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...globSync('docs/**/*.md', { cwd: root })]

describe('the documentation', () => {
  it('tells operators of every environment variable the server reads', () => {
    const guide = read('docs/operators-guide.md')
    const variables = new Set(read('server/config.ts').match(/GUESTDECK_[A-Z_]+/g))
    expect(variables.size).toBeGreaterThan(5)
    for (const name of variables) expect(guide, name).toContain(`\`${name}\``)
  })

  it('tells of every option of the server', () => {
    const guide = read('docs/operators-guide.md')
    const options = [...read('server/main.ts').matchAll(/^ {2}(--[a-z-]+)/gm)].map((match) => match[1])
    expect(options.length).toBeGreaterThan(5)
    for (const option of options) expect(guide, option).toContain(option)
  })

  it.each(pages)('%s links only to what is there', (page) => {
    const targets = [...read(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((match) => match[1])
    const missing = targets
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => !existsSync(join(root, dirname(page), target)))
    expect(missing).toEqual([])
  })

  it('names only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json'))
    for (const page of pages) {
      for (const [, name] of read(page).matchAll(/npm run (?:-s )?([a-z:0-9]+)/g))
        expect(scripts, `${page}: ${name}`).toHaveProperty([name])
    }
  })
})
