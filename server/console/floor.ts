/**
 * Who may type into one console. As long as nobody asked for more, everybody who may control does so together; somebody
 * may take sole control, others ask for it, and it is handed over, given up or taken back. Pure: no clock, no sockets.
 *
 *   shared ──hold, take, give──▶ held by one ──give, take──▶ held by another
 *     ▲                              │
 *     ╰──────release, the holder leaves──────╯
 */
import type { ConsoleWish } from '#lib/schema/console.ts'

export interface Participant {
  readonly id: string
  readonly name: string
  readonly mayControl: boolean
  /** May take control back, hand it to others and refuse what they ask. */
  readonly manages: boolean
}

export interface Floor {
  /** Null: shared. */
  readonly holder: string | null
  askedAtMs(id: string): number | null
  mayType(participant: Pick<Participant, 'id' | 'mayControl'>): boolean
  /**
   * @param find the participant of that id at this console, null when it has left
   * @returns why it is not done, or null when it is (also when it was so already)
   */
  apply(wish: ConsoleWish, by: Participant, find: (id: string) => Participant | null, atMs: number): string | null
  /** @returns whether anything changed but that one is gone */
  leave(id: string): boolean
}

export function createFloor(): Floor {
  let holder: string | null = null
  const asks = new Map<string, number>()

  const settle = (next: string | null): null => {
    holder = next
    if (next === null) asks.clear()
    else asks.delete(next)
    return null
  }

  return {
    get holder() {
      return holder
    },
    askedAtMs: (id) => asks.get(id) ?? null,
    mayType: ({ id, mayControl }) => mayControl && (holder === null || holder === id),
    apply(wish, by, find, atMs) {
      const decides = holder === by.id || by.manages
      switch (wish.do) {
        case 'hold':
        case 'take': {
          if (!by.mayControl) return 'You may watch this console, not control it.'
          if (holder === null || holder === by.id || (wish.do === 'take' && by.manages)) return settle(by.id)
          return `${find(holder)?.name ?? 'Somebody else'} has control. Ask for it.`
        }
        case 'release':
          if (holder === null) return null
          return decides ? settle(null) : 'Only who has control can give it up.'
        case 'ask':
          if (!by.mayControl) return 'You may watch this console, not control it.'
          if (holder !== null && holder !== by.id && !asks.has(by.id)) asks.set(by.id, atMs)
          return null
        case 'withdraw':
          asks.delete(by.id)
          return null
        case 'give': {
          if (!decides) return 'Only who has control can hand it over.'
          const to = find(wish.to)
          if (to === null) return 'They have left this console.'
          if (!to.mayControl) return `${to.name} may watch this console, not control it.`
          return settle(to.id)
        }
        case 'decline':
          if (!decides) return 'Only who has control can answer.'
          asks.delete(wish.to)
          return null
      }
    },
    leave(id) {
      const asked = asks.delete(id)
      if (holder !== id) return asked
      settle(null)
      return true
    },
  }
}
