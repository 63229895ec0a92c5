/**
 * The event hub: numbers every event of this server run, keeps the latest ones for readers that reconnect, and hands
 * each to its subscribers as an object and as the text that goes on the wire (serialised once, shared by all).
 *
 * The hub knows nothing about callers; `ownerId` travels beside the event so that the engine can filter.
 */
import { randomBytes } from 'node:crypto'
import type * as z from 'zod'
import type { DeckEvent, EventTopic } from '#lib/schema/event.ts'

type Topic = z.output<typeof EventTopic>

export interface HubEvent {
  readonly event: DeckEvent
  /** `JSON.stringify(event)`. */
  readonly text: string
  /** Who owns the object; null when it belongs to nobody in particular. Never on the wire. */
  readonly ownerId: string | null
  /** The object whose people may know of it, where that is not the event's own. Never on the wire. */
  readonly about: About | null
}

/** A VM or a free disk: others than its owner may reach it. */
export interface About {
  readonly kind: 'vm' | 'volume'
  readonly id: string
}

export interface PublishOptions {
  readonly kind?: 'change' | 'gone'
  readonly ownerId?: string | null
  readonly about?: About | null
}

/** Events kept for replay, and the bytes of text they may take together. */
export const RING_EVENTS = 4096
export const RING_BYTES = 8 * 1024 * 1024

export class EventHub {
  /** Another epoch means another server run: sequence numbers started over. */
  readonly epoch = randomBytes(9).toString('base64url')
  #seq = 0
  #ring: HubEvent[] = []
  /** Index of the oldest kept event in `#ring`; the front is cut off in batches. */
  #first = 0
  #bytes = 0
  readonly #listeners = new Set<(event: HubEvent) => void>()
  readonly #onListenerError: (error: unknown) => void

  constructor(onListenerError: (error: unknown) => void = () => {}) {
    this.#onListenerError = onListenerError
  }

  /** Sequence number of the latest event, 0 before the first. */
  get seq(): number {
    return this.#seq
  }

  /** @param object the object's view as it goes on the wire; must not be changed afterwards. */
  publish(
    topic: Topic,
    id: string | null,
    revision: number | null,
    object?: unknown,
    options: PublishOptions = {},
  ): HubEvent {
    this.#seq += 1
    const event = {
      ...this.#frame(options.kind ?? 'change', topic, id, revision),
      ...(object !== undefined && { object }),
    } as DeckEvent
    const entry: HubEvent = {
      event,
      text: JSON.stringify(event),
      ownerId: options.ownerId ?? null,
      about: options.about ?? null,
    }
    this.#keep(entry)
    for (const listener of this.#listeners) {
      try {
        listener(entry)
      } catch (error) {
        this.#onListenerError(error)
      }
    }
    return entry
  }

  /** A `hello` or `reset` for one reader: carries the present epoch and sequence number, takes no number itself. */
  marker(kind: 'hello' | 'reset'): HubEvent {
    const event = this.#frame(kind, null, null, null)
    return { event, text: JSON.stringify(event), ownerId: null, about: null }
  }

  /**
   * Events after `since`, oldest first; null when some of them are no longer kept, or belong to another run.
   * A null epoch is taken for this one.
   */
  replay(since: { epoch: string | null; seq: number }): readonly HubEvent[] | null {
    if (since.epoch !== null && since.epoch !== this.epoch) return null
    if (since.seq > this.#seq) return null
    const missed = this.#seq - since.seq
    const kept = this.#ring.length - this.#first
    if (missed > kept) return null
    return missed === 0 ? [] : this.#ring.slice(this.#ring.length - missed)
  }

  /** The listener must not block. Returns the unsubscribe function. */
  subscribe(listener: (event: HubEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #frame(kind: DeckEvent['kind'], topic: Topic | null, id: string | null, revision: number | null): DeckEvent {
    return { seq: this.#seq, epoch: this.epoch, kind, topic, id, revision, at: new Date().toISOString() }
  }

  #keep(entry: HubEvent): void {
    this.#ring.push(entry)
    this.#bytes += entry.text.length
    while (this.#ring.length - this.#first > RING_EVENTS || this.#bytes > RING_BYTES) {
      const oldest = this.#ring[this.#first]
      if (!oldest || this.#first === this.#ring.length - 1) break
      this.#bytes -= oldest.text.length
      this.#first += 1
    }
    if (this.#first > RING_EVENTS) {
      this.#ring = this.#ring.slice(this.#first)
      this.#first = 0
    }
  }
}
