/** API tokens: shared by the API and the command line. */
import { randomUUIDv7 } from 'node:crypto'
import type { TokenScope } from '#lib/schema/token.ts'
import { newTokenSecret, type TokenDocument, tokenKey } from '#server/auth/documents.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

const DAY_MS = 86_400_000
const TOKENS_PER_USER = 100

export interface Tokens {
  /** Oldest first. */
  list(userId?: string): TokenDocument[]
  /** The secret is in the answer only; the store keeps its digest. @throws EngineError conflict (too many) */
  create(input: {
    userId: string
    label: string
    expiresInDays?: number | undefined
    scope?: TokenScope | undefined
  }): {
    secret: string
    entry: TokenDocument
  }
  /** @throws EngineError not_found, also for somebody else's token when `userId` is given */
  delete(id: string, userId?: string): TokenDocument
}

/** Expiry follows the wall clock: people chose a date. */
export function isExpired(token: TokenDocument, nowMs: number): boolean {
  return token.expiresAt !== null && Date.parse(token.expiresAt) <= nowMs
}

export function createTokens(store: Store): Tokens {
  const stored = () => store.list<TokenDocument>('token')
  return {
    list: (userId) =>
      stored()
        .map(({ value }) => value)
        .filter((token) => userId === undefined || token.userId === userId)
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    create({ userId, label, expiresInDays, scope }) {
      const secret = newTokenSecret()
      const key = tokenKey(secret)
      if (key === null) throw new Error('a new token is not of its own form')
      const now = Date.now()
      const entry: TokenDocument = {
        v: 1,
        id: randomUUIDv7(),
        userId,
        label,
        createdAt: new Date(now).toISOString(),
        lastUsedAt: null,
        expiresAt: expiresInDays === undefined ? null : new Date(now + expiresInDays * DAY_MS).toISOString(),
        scope: scope ?? null,
      }
      return store.transaction(() => {
        if (stored().filter(({ value }) => value.userId === userId).length >= TOKENS_PER_USER) {
          throw new EngineError('conflict', `There are already ${TOKENS_PER_USER} API tokens; revoke one first.`)
        }
        store.put('token', key, entry)
        return { secret, entry }
      })
    },
    delete(id, userId) {
      const found = stored().find(({ value }) => value.id === id && (userId === undefined || value.userId === userId))
      if (!found) throw new EngineError('not_found', 'There is no such API token.')
      store.delete('token', found.key)
      return found.value
    },
  }
}
