/**
 * For tests, loaded before a program (`node --import`): the wall clock goes wrong by as many milliseconds as the file
 * named in `GUESTDECK_TEST_CLOCK` says, from the moment it says so. Clocks that only run forward stay as they are.
 */
import { readFileSync } from 'node:fs'

const file = process.env.GUESTDECK_TEST_CLOCK
if (file !== undefined) {
  const trueNow = Date.now
  const offsetMs = (): number => {
    try {
      return Number(readFileSync(file, 'utf8'))
    } catch {
      return 0
    }
  }
  const TrueDate = Date
  class MovedDate extends TrueDate {
    constructor(...given: [] | [number | string | Date]) {
      if (given.length === 0) super(trueNow() + offsetMs())
      else super(...given)
    }
    static override now(): number {
      return trueNow() + offsetMs()
    }
  }
  globalThis.Date = MovedDate as DateConstructor
}
