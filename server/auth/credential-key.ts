import type { Caller } from '#server/engine/types.ts'

/** The key in the store of the credential a caller came with. */
export const keyOf = (caller: Pick<Caller, 'credentialId'>): string =>
  caller.credentialId.slice(caller.credentialId.indexOf(':') + 1)
