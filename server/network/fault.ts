/** Why something on the host's network side could not be done, in words for people. */

/** A host without the means is told apart from one that denies them: the advice differs. */
export type NetworkFaultCode = 'host-resource' | 'permission-denied'

/** Thrown by everything in this directory. `summary` says what is wrong, `advice` what to do about it. */
export class NetworkFault extends Error {
  override readonly name = 'NetworkFault'
  readonly code: NetworkFaultCode
  readonly summary: string
  readonly advice: string

  constructor(code: NetworkFaultCode, summary: string, advice: string, options?: ErrorOptions) {
    super(`${summary} ${advice}`, options)
    this.code = code
    this.summary = summary
    this.advice = advice
  }
}
