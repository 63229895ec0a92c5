/** Whether anybody looks at live numbers: they are read more often then. */
import type { Supervisor } from '#server/vm/types.ts'

/** After somebody looked at live numbers without an event socket. */
const INTEREST_MS = 10_000

export interface Readers {
  /** So many event sockets are open. */
  readonly count: (count: number) => void
  /** Somebody asked once. */
  readonly looked: () => void
  close(): void
}

export function createReaders(supervisor: Pick<Supervisor, 'setInterest'>): Readers {
  let readers = 0
  let timer: NodeJS.Timeout | null = null
  const show = () => supervisor.setInterest(readers > 0 || timer !== null)
  return {
    count(count) {
      readers = count
      show()
    },
    looked() {
      if (timer !== null) {
        timer.refresh()
        return
      }
      timer = setTimeout(() => {
        timer = null
        show()
      }, INTEREST_MS)
      timer.unref()
      show()
    },
    close() {
      if (timer !== null) clearTimeout(timer)
    },
  }
}
