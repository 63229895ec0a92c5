/** Counts of a test run, read from what the runners report to machines. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

/**
 * @typedef {object} Counts
 * @property {number} passed including those that passed only on a second attempt
 * @property {number} failed
 * @property {number} skipped
 * @property {string[]} flaky names of the tests that failed first and then passed
 */

/** @param {any} report of vitest's json reporter @returns {Counts} */
export function countVitest(report) {
  // A file that cannot be loaded has no tests to fail, only itself.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles,
    skipped: report.numPendingTests + report.numTodoTests,
    // What went wrong in an earlier attempt stays with a test that passed in the end.
    flaky: report.testResults.flatMap((file) =>
      file.assertionResults
        .filter((test) => test.status === 'passed' && test.failureMessages?.length > 0)
        .map((test) => `${test.fullName} (${basename(file.name)})`),
    ),
  }
}

/** @param {any} report of Playwright's json reporter @returns {Counts} */
export function countPlaywright(report) {
  const { expected, unexpected, flaky, skipped } = report.stats
  // An error outside any test, as of a file that cannot be loaded, is in no count.
  const failed = unexpected + (report.errors?.length ?? 0)
  return { passed: expected + flaky, failed, skipped, flaky: flakySpecs(report.suites ?? [], []) }
}

function flakySpecs(suites, above) {
  return suites.flatMap((suite) => {
    const titles = [...above, suite.title]
    const own = (suite.specs ?? []).filter((spec) => spec.tests.some((test) => test.status === 'flaky'))
    return [
      ...own.map((spec) => [...titles.slice(1), spec.title, `(${titles[0]})`].join(' ')),
      ...flakySpecs(suite.suites ?? [], titles),
    ]
  })
}

/**
 * The counts of one runner. One that crashed, left no report, or ran nothing counts as a failure.
 * @param {string} path of the report, removed before the run
 * @param {number} exitCode
 * @param {(report: any) => Counts} count
 * @returns {Counts}
 */
export function readCounts(path, exitCode, count) {
  let counts = { passed: 0, failed: 0, skipped: 0, flaky: [] }
  let isReported = false
  try {
    counts = count(JSON.parse(readFileSync(path, 'utf8')))
    isReported = true
  } catch {
    // Told by isReported.
  }
  const ranNothing = counts.passed + counts.failed === 0
  if (counts.failed === 0 && (exitCode !== 0 || !isReported || ranNothing)) return { ...counts, failed: 1 }
  return counts
}

/** @param {Counts[]} all @returns {Counts} */
export function sum(all) {
  const add = (key) => all.reduce((total, counts) => total + counts[key], 0)
  return {
    passed: add('passed'),
    failed: add('failed'),
    skipped: add('skipped'),
    flaky: all.flatMap(({ flaky }) => flaky),
  }
}

/** @param {Counts} counts @returns {string} the line a test run ends with */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}
