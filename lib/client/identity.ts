/** Asks once more who somebody is when the server wants to know, then tries again. Hosted by the pages that need it. */
import { toApiError } from './api-client.ts'
import { createStore } from './store.ts'

interface IdentityQuestion {
  /** False: not answered. */
  readonly answer: (isProved: boolean) => void
}
export const identityQuestion = createStore<IdentityQuestion | null>(null)

/** @throws ApiError of the work, also `confirm_needed` when the question was closed */
export async function confirmed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const error = toApiError(cause)
    if (error.code !== 'confirm_needed') throw error
    const isProved = await new Promise<boolean>((answer) => identityQuestion.set({ answer }))
    identityQuestion.set(null)
    if (!isProved) throw error
    return work()
  }
}
