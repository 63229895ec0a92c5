/**
 * What is on its way into the library, by the id of the image it is to become: uploads of both kinds, downloads,
 * imports. Everything is promised its room before its first byte, in one step with the check, so that two that would
 * pass a quota together are not both let in; and judged once more, by its real size, when it becomes an image.
 */
import type { ImageDocument } from './documents.ts'

export interface IntakeRules {
  /** @throws EngineError quota_exceeded */
  assertFits(ownerId: string, more: { readonly bytes: number; readonly count: number }): void
  /** Bytes that somebody may still bring; null: no limit. */
  roomFor(ownerId: string): number | null
  /** Whether it has become an image: then the image counts. */
  isAdmitted(id: string): boolean
}

export interface Intake {
  /** @param bytes 0 where nobody knows yet @throws EngineError quota_exceeded */
  begin(id: string, ownerId: string, bytes: number): void
  /** One that was let in by an earlier run of the dashboard. */
  resume(id: string, ownerId: string, bytes: number): void
  /** Its size is known, or another one. @throws EngineError quota_exceeded */
  resize(id: string, bytes: number): void
  end(id: string): void
  /** Synchronous, right before they are stored. @throws EngineError quota_exceeded */
  assertAdoptable(images: readonly Pick<ImageDocument, 'id' | 'sizeBytes' | 'path' | 'addedBy'>[]): void
  bytesOf(ownerId: string): number
  countOf(ownerId: string): number
  roomFor(ownerId: string): number | null
}

export function createIntake(rules: IntakeRules): Intake {
  const under = new Map<string, { readonly ownerId: string; readonly bytes: number }>()
  const of = (ownerId: string) => [...under].filter(([, one]) => one.ownerId === ownerId)
  const set = (id: string, ownerId: string, bytes: number) => void under.set(id, { ownerId, bytes })
  return {
    begin(id, ownerId, bytes) {
      rules.assertFits(ownerId, { bytes, count: 1 })
      set(id, ownerId, bytes)
    },
    resume: set,
    resize(id, bytes) {
      const one = under.get(id)
      if (one === undefined) return
      if (bytes > one.bytes) rules.assertFits(one.ownerId, { bytes: bytes - one.bytes, count: 0 })
      set(id, one.ownerId, bytes)
    },
    end: (id) => void under.delete(id),
    assertAdoptable(images) {
      const more = new Map<string, number>()
      const promised = new Set<string>()
      for (const { id, sizeBytes, path, addedBy } of images) {
        // A file that lies elsewhere takes nothing of ours.
        if (path !== null) continue
        const one = promised.has(id) ? undefined : under.get(id)
        promised.add(id)
        more.set(addedBy.id, (more.get(addedBy.id) ?? 0) + sizeBytes - (one?.bytes ?? 0))
      }
      for (const [ownerId, bytes] of more) if (bytes > 0) rules.assertFits(ownerId, { bytes, count: 0 })
    },
    bytesOf: (ownerId) => of(ownerId).reduce((sum, [id, { bytes }]) => sum + (rules.isAdmitted(id) ? 0 : bytes), 0),
    countOf: (ownerId) => of(ownerId).length,
    roomFor: rules.roomFor,
  }
}
