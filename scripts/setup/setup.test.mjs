import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hashSources } from './build.mjs'
import { isInstalled } from './dependencies.mjs'
import { installCommand, packagesFor } from './packages.mjs'
import { findCommand, requirementsOf } from './requirements.mjs'
import { closingLine, countPlaywright, countVitest, readCounts, sum } from './results.mjs'

let dir
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'setup-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('the pages are built again', () => {
  beforeEach(() => {
    mkdirSync(join(dir, 'app/deck'), { recursive: true })
    writeFileSync(join(dir, 'app/deck/page.tsx'), 'one')
    writeFileSync(join(dir, 'tsconfig.json'), '{}')
  })

  it('when a source changes, appears or is renamed', () => {
    const hashes = [hashSources(dir)]
    writeFileSync(join(dir, 'app/deck/page.tsx'), 'two')
    hashes.push(hashSources(dir))
    writeFileSync(join(dir, 'app/deck/other.tsx'), '')
    hashes.push(hashSources(dir))
    writeFileSync(join(dir, 'postcss.config.mjs'), '')
    hashes.push(hashSources(dir))
    expect(new Set(hashes).size).toBe(4)
  })

  it('but not for a test, a server file or the same text written again', () => {
    const before = hashSources(dir)
    writeFileSync(join(dir, 'app/deck/page.test.tsx'), 'test')
    mkdirSync(join(dir, 'server'))
    writeFileSync(join(dir, 'server/main.ts'), '')
    writeFileSync(join(dir, 'app/deck/page.tsx'), 'one')
    expect(hashSources(dir)).toBe(before)
  })
})

describe('node_modules without our stamp', () => {
  const next = { version: '1.0.0', integrity: 'sha512-a' }
  const wanted = { '': {}, 'node_modules/next': next }

  it('is adopted when it holds what the lockfile asks for', () => {
    expect(isInstalled(wanted, { 'node_modules/next': next })).toBe(true)
  })
  it('is installed again when a package is missing, differs or is too many', () => {
    expect(isInstalled(wanted, {})).toBe(false)
    expect(isInstalled(wanted, { 'node_modules/next': { ...next, version: '1.0.1' } })).toBe(false)
    expect(isInstalled(wanted, { 'node_modules/next': { ...next, integrity: 'sha512-b' } })).toBe(false)
    expect(isInstalled(wanted, { 'node_modules/next': next, 'node_modules/extra': next })).toBe(false)
  })
  it('may lack optional packages of other platforms, not those of this one', () => {
    const other = { ...next, optional: true, os: ['win32'], cpu: [process.arch] }
    const ours = { ...next, optional: true, os: [process.platform], cpu: [process.arch] }
    expect(isInstalled({ 'node_modules/other': other }, {})).toBe(true)
    expect(isInstalled({ 'node_modules/ours': ours }, {})).toBe(false)
  })
})

describe('system packages', () => {
  it('are named once each, for every package manager, for all that is required', () => {
    const required = requirementsOf('test')
    for (const manager of /** @type {const} */ (['apt', 'dnf', 'pacman', 'zypper'])) {
      const packages = packagesFor(manager, required)
      expect(new Set(packages).size).toBe(packages.length)
      // What only tests need may be missing from a distribution; what guests need may not.
      const needed = manager !== 'apt' ? requirementsOf('start') : required
      for (const requirement of needed) expect(requirement.packages[manager]).not.toEqual([])
    }
  })
  it('of the tests are not asked of who only runs the dashboard, and none of who checks sources', () => {
    const names = requirementsOf('start').map(({ what }) => what)
    expect(names).toContain('QEMU system emulator')
    expect(names.join()).not.toContain('Chromium')
    expect(requirementsOf('check')).toEqual([])
  })
  it('can be installed with the one command that is printed', () => {
    expect(installCommand('apt', ['ovmf', 'swtpm'])).toBe(
      'sudo apt-get update && sudo apt-get install --yes --no-install-recommends ovmf swtpm',
    )
    expect(installCommand('pacman', ['swtpm'])).toBe('sudo pacman -S --needed --noconfirm swtpm')
  })
  it('are found by the file that must be there, with an emulator of the user’s choice', () => {
    const qemu = requirementsOf('start')[0]
    const mine = join(dir, 'my-qemu')
    expect(qemu.isPresent({ GUESTDECK_QEMU: mine })).toBe(false)
    writeFileSync(mine, '#!/bin/sh\n', { mode: 0o755 })
    expect(qemu.isPresent({ GUESTDECK_QEMU: mine })).toBe(true)
    expect(findCommand('no-such-command-here')).toBeNull()
  })
})

describe('the closing line', () => {
  const vitestReport = {
    numPassedTests: 3,
    numFailedTests: 1,
    numPendingTests: 1,
    numTodoTests: 1,
    testResults: [
      {
        name: '/src/a.int.test.ts',
        status: 'failed',
        assertionResults: [
          { status: 'failed', failureMessages: ['no', 'no'] },
          { status: 'passed', failureMessages: [] },
          { status: 'passed', failureMessages: ['too late'], fullName: 'a guest starts' },
        ],
      },
      { name: '/src/b.test.ts', status: 'failed', assertionResults: [] },
    ],
  }
  const spec = (title, status) => ({ title, tests: [{ status }] })
  const playwrightReport = {
    stats: { expected: 2, unexpected: 0, flaky: 1, skipped: 4 },
    suites: [
      {
        title: 'list.e2e.ts',
        specs: [spec('shows', 'expected')],
        suites: [{ title: 'the list', specs: [spec('sorts', 'flaky'), spec('filters', 'expected')] }],
      },
    ],
    errors: [{ message: 'a file cannot be loaded' }],
  }

  it('sums all runners, and a file that could not be loaded has failed', () => {
    const vitest = countVitest(vitestReport)
    expect(vitest).toMatchObject({ passed: 3, failed: 2, skipped: 2 })
    expect(closingLine(sum([vitest, countPlaywright(playwrightReport)]))).toBe('6 passed, 3 failed, 6 skipped')
  })

  it('comes after the name of every test that needed a second attempt', () => {
    const total = sum([countVitest(vitestReport), countPlaywright(playwrightReport)])
    expect(total.flaky).toEqual(['a guest starts (a.int.test.ts)', 'the list sorts (list.e2e.ts)'])
  })

  it('counts a runner that crashed, left no report or ran nothing as a failure', () => {
    const path = join(dir, 'report.json')
    const green = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] }
    expect(readCounts(path, 0, countVitest).failed).toBe(1)
    writeFileSync(path, '{"numPassed')
    expect(readCounts(path, 0, countVitest).failed).toBe(1)
    writeFileSync(path, JSON.stringify(green))
    expect(readCounts(path, 0, countVitest)).toEqual({ passed: 3, failed: 0, skipped: 0, flaky: [] })
    expect(readCounts(path, 1, countVitest)).toEqual({ passed: 3, failed: 1, skipped: 0, flaky: [] })
    writeFileSync(path, JSON.stringify({ ...green, numPassedTests: 0 }))
    expect(readCounts(path, 0, countVitest).failed).toBe(1)
  })
})
