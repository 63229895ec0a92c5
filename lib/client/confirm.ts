/** The one dialog that asks before something is destroyed. Hosted by the shell. */
import { createStore } from './store.ts'

export interface ConfirmRequest {
  /** Names the object: "Delete web-1?" */
  readonly title: string
  readonly body?: string | undefined
  /** What is lost, one line each. */
  readonly goes?: readonly string[] | undefined
  /** What is kept, one line each. */
  readonly stays?: readonly string[] | undefined
  /** The verb on the button: "Delete". */
  readonly confirmLabel: string
  readonly danger?: boolean | undefined
  /** Does it. A failure is shown in the dialog, which stays open. */
  readonly run: () => Promise<unknown>
}

export const confirmation = createStore<ConfirmRequest | null>(null)
export const askToConfirm = (request: ConfirmRequest) => confirmation.set(request)
