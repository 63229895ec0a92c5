/** Bookings in the store, and in memory for reading. Those that ended long ago are dropped. */
import * as z from 'zod'
import { BookableDevice } from '#lib/schema/lab.ts'
import type { Store } from '#server/store/types.ts'

const Document = z.object({
  v: z.literal(1),
  id: z.string(),
  device: BookableDevice,
  from: z.string(),
  until: z.string(),
  note: z.string(),
  ownerId: z.string(),
})
export type BookingDocument = z.output<typeof Document>

export interface BookingRecords {
  load(warn: (message: string, error?: unknown) => void): void
  all(): readonly BookingDocument[]
  get(id: string): BookingDocument | null
  add(document: BookingDocument): void
  remove(id: string): void
}

export function createBookingRecords(store: Store): BookingRecords {
  const documents = new Map<string, BookingDocument>()
  let sorted: readonly BookingDocument[] | null = null
  return {
    load(warn) {
      for (const { key, value } of store.list('booking')) {
        const parsed = Document.safeParse(value)
        if (parsed.success) documents.set(key, parsed.data)
        else warn(`The stored booking ${key} is unreadable and is left out.`, parsed.error)
      }
    },
    all() {
      sorted ??= [...documents.values()].sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0))
      return sorted
    },
    get: (id) => documents.get(id) ?? null,
    add(document) {
      store.put('booking', document.id, document)
      documents.set(document.id, document)
      sorted = null
    },
    remove(id) {
      store.delete('booking', id)
      documents.delete(id)
      sorted = null
    },
  }
}
