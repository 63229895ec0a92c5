/** A launch plan as text for a POSIX shell. */
import type { LaunchPlan } from './types.ts'

const SAFE = /^[A-Za-z0-9_@%+=:,./-]+$/

/** One word, quoted so that a POSIX shell reads exactly this string. */
export function quoteWord(word: string): string {
  return SAFE.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/**
 * The whole command, one option a line, with line continuations; pasted into a shell it runs the very same argv.
 * No trailing newline.
 */
export function toShell(plan: Pick<LaunchPlan, 'binary' | 'wrapper' | 'options'>): string {
  return [...plan.wrapper.map((option) => option.argv), [plan.binary], ...plan.options.map((option) => option.argv)]
    .map((argv, line) => `${line === 0 ? '' : '  '}${argv.map(quoteWord).join(' ')}`)
    .join(' \\\n')
}
