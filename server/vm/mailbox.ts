/**
 * One writer per VM: requests take turns, one at a time, in order. Guest events do not queue here; they are applied
 * the moment they arrive, so a request whose turn comes always sees the effect of every event before it.
 * Cutting the power does not queue either: it interrupts the turn in progress.
 */
import { EngineError } from '#server/engine/errors.ts'

/** How long a request may wait for its turn. Milliseconds. */
const PATIENCE_MS = 15_000

export class Mailbox {
  #last: Promise<unknown> = Promise.resolve()
  #current: AbortController | null = null
  #waiting = 0

  /**
   * Runs `turn` when all earlier ones are done. The signal aborts when the turn is interrupted.
   * @throws EngineError busy when the turn does not come in time; whatever `turn` throws
   */
  submit<T>(turn: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const mine = Promise.withResolvers<T>()
    let given = false
    const patience = setTimeout(() => {
      given = true
      mine.reject(new EngineError('busy', 'The VM is busy with an earlier request; try again in a moment.'))
    }, PATIENCE_MS)
    this.#waiting += 1
    this.#last = this.#last.then(async () => {
      clearTimeout(patience)
      this.#waiting -= 1
      if (given) return
      const controller = new AbortController()
      this.#current = controller
      try {
        mine.resolve(await turn(controller.signal))
      } catch (error) {
        mine.reject(error)
      } finally {
        if (this.#current === controller) this.#current = null
      }
    })
    return mine.promise
  }

  /** Aborts the turn in progress, if any. Those that wait stay. */
  interrupt(reason: unknown): void {
    this.#current?.abort(reason)
  }

  /** Requests that have not had their turn yet. */
  get waiting(): number {
    return this.#waiting
  }
}
