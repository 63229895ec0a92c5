/** Something around QEMU could not be had, and the reason is known. */
import type { Explanation } from '../failures.ts'

export class HostFault extends Error {
  override readonly name = 'HostFault'
  readonly known: Explanation
  /** What the program at fault wrote; empty when none did. */
  readonly stderr: string

  constructor(known: Explanation, options: ErrorOptions & { stderr?: string } = {}) {
    super(`${known.summary} ${known.advice}`.trim(), options)
    this.known = known
    this.stderr = options.stderr ?? ''
  }
}
