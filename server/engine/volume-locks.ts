/** Work on single volumes, of which each takes one at a time: a second is refused and told what is under way. */
import { EngineError } from './errors.ts'

export interface VolumeLocks {
  /** What is under way, as words that follow “is being”: `copied`. Null: nothing. */
  of(volumeId: string): string | null
  /** @returns what ends it @throws EngineError in_use */
  take(volumeId: string, what: string): () => void
}

export function createVolumeLocks(): VolumeLocks {
  const held = new Map<string, string>()
  return {
    of: (volumeId) => held.get(volumeId) ?? null,
    take(volumeId, what) {
      const now = held.get(volumeId)
      if (now !== undefined)
        throw new EngineError('in_use', `This disk is being ${now}; wait for it or cancel it, then try again.`)
      held.set(volumeId, what)
      let open = true
      return () => {
        if (open) held.delete(volumeId)
        open = false
      }
    },
  }
}
