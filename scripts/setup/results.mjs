/** Counts of a test run, read from what the runners report to machines. */
import { readFileSync } from 'node:fs'

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

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
  }
}

/** @param {any} report of Playwright's json reporter @returns {Counts} a test that passed on a retry has failed */
export function countPlaywright(report) {
  const { expected, unexpected, flaky, skipped } = report.stats
  return { passed: expected, failed: unexpected + flaky, skipped }
}

/**
 * The counts of one runner. One that crashed, left no report, or ran nothing counts as a failure.
 * @param {string} path of the report, removed before the run
 * @param {number} exitCode
 * @param {(report: any) => Counts} count
 * @returns {Counts}
 */
export function readCounts(path, exitCode, count) {
  let counts = { passed: 0, failed: 0, skipped: 0 }
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
  return { passed: add('passed'), failed: add('failed'), skipped: add('skipped') }
}

/** @param {Counts} counts @returns {string} the line a test run ends with */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}
