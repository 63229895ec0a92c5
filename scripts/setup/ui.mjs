/** What set-up says to people: plain lines on stderr, so that stdout stays the program's own. */

/** Ends set-up with a sentence for people instead of a stack. */
export class SetupError extends Error {
  name = 'SetupError'
}

/** @param {string} text */
export function say(text) {
  process.stderr.write(`guestdeck: ${text}\n`)
}

/** @param {number} startedAt milliseconds of `performance.now()` @returns {string} such as `4.2 s` */
export function since(startedAt) {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
}
