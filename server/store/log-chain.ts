/**
 * The chain of the activity log: each line's hash covers the line and the hash before it, so that a line that was
 * changed, added or taken out in the middle breaks the chain there. Who can write the database can also make a new
 * chain; a head that was noted or shipped elsewhere shows that. Pure.
 */
import { createHash } from 'node:crypto'

export interface ChainedLine {
  readonly id: number
  readonly at: string
  readonly what: string
  readonly text: string
  readonly result: string
  readonly who: string | null
  readonly from: string | null
  readonly topic: string | null
  readonly objectId: string | null
  readonly objectName: string | null
  readonly userId: string | null
}

/** SHA-256, hexadecimal, over a JSON list in fixed order: unlike joined text it cannot be read in two ways. */
export function chainHash(line: ChainedLine, before: string): string {
  const { id, at, what, text, result, who, from, topic, objectId, objectName, userId } = line
  return createHash('sha256')
    .update(JSON.stringify([before, id, at, what, text, result, who, from, topic, objectId, objectName, userId]))
    .digest('hex')
}
