/**
 * The one WebSocket to `/api/v1/events`.
 *
 *   closed ──connect──▶ connecting ──open──▶ open
 *                          ▲  ╰──fails──▶ waiting ──backoff, online, visible──╮
 *                          ╰──────────────────────────────────────────────────╯
 *
 * Resumes with the last sequence number of the same epoch; the server answers with `reset` when it can no longer
 * replay. Owned by the event bridge of the shell; `close` ends it for good.
 */
import type { DeckEvent } from '#lib/schema/event.ts'
import { API_BASE } from './api-client.ts'
import { createStore } from './store.ts'

export interface Connection {
  readonly state: 'idle' | 'connecting' | 'open' | 'waiting'
  /** When it was lost, milliseconds since 1970; null while open or before the first attempt. */
  readonly lostAt: number | null
}
/** Followed by the banner and by the polling fallback. */
export const connection = createStore<Connection>({ state: 'idle', lostAt: null })

const FIRST_DELAY_MS = 300
const LONGEST_DELAY_MS = 10_000
const STABLE_AFTER_MS = 5_000

/** Wait before attempt `n` (from 0): doubles up to ten seconds, less up to a third so that tabs do not march in step. */
export const reconnectDelayMs = (attempt: number, random: number) =>
  Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt) * (1 - random / 3)

/** Where to connect; resumes after `seen` when there is one. */
export function eventsUrl(origin: string, seen: { epoch: string; seq: number } | null): string {
  const url = new URL(`${API_BASE}/events`, origin)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  if (seen) {
    url.searchParams.set('since', String(seen.seq))
    url.searchParams.set('epoch', seen.epoch)
  }
  return url.href
}

/** What was seen last, after `event`. Another epoch starts over. */
export const nextSeen = (seen: { epoch: string; seq: number } | null, event: Pick<DeckEvent, 'epoch' | 'seq'>) =>
  seen && seen.epoch === event.epoch && seen.seq > event.seq ? seen : { epoch: event.epoch, seq: event.seq }

export interface EventStreamHooks {
  onEvent(event: DeckEvent): void
  /** After every attempt that failed without ever opening: the session may have ended. */
  onRefused(): void
}

/** Opens the stream and keeps it open. Returns the function that ends it. */
export function openEventStream({ onEvent, onRefused }: EventStreamHooks): () => void {
  let socket: WebSocket | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let attempt = 0
  let seen: { epoch: string; seq: number } | null = null
  let ended = false

  const connect = () => {
    clearTimeout(timer)
    if (ended) return
    connection.set((c) => ({ ...c, state: 'connecting' }))
    const opening = new WebSocket(eventsUrl(location.href, seen))
    socket = opening
    let openedAt = 0
    opening.onopen = () => {
      openedAt = Date.now()
      connection.set({ state: 'open', lostAt: null })
    }
    opening.onmessage = (message: MessageEvent<string>) => {
      // Our own server's text; a line that does not parse means a version mismatch and is left to the next reset.
      let event: DeckEvent
      try {
        event = JSON.parse(message.data) as DeckEvent
      } catch {
        return
      }
      seen = nextSeen(seen, event)
      onEvent(event)
    }
    opening.onclose = () => {
      if (ended || socket !== opening) return
      socket = null
      if (openedAt === 0) onRefused()
      // A connection that held for a while earns a quick retry; one that drops at once does not.
      attempt = openedAt > 0 && Date.now() - openedAt > STABLE_AFTER_MS ? 0 : attempt + 1
      connection.set((c) => ({ state: 'waiting', lostAt: c.lostAt ?? Date.now() }))
      timer = setTimeout(connect, reconnectDelayMs(attempt, Math.random()))
    }
  }
  const hurry = () => {
    if (socket === null && document.visibilityState === 'visible') connect()
  }
  addEventListener('online', hurry)
  document.addEventListener('visibilitychange', hurry)
  connect()

  return () => {
    ended = true
    clearTimeout(timer)
    removeEventListener('online', hurry)
    document.removeEventListener('visibilitychange', hurry)
    socket?.close()
    connection.set({ state: 'idle', lostAt: null })
  }
}
