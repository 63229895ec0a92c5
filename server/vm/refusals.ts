/** What the supervisor's failures are to those who asked. Pure. */
import type { VmExit } from '#lib/schema/vm-state.ts'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import { type Explanation, launchErrorCode, redact } from './failures.ts'

export function unresponsive(cause?: unknown): EngineError {
  return new EngineError('unresponsive', 'Its QEMU process does not answer; its power can be cut.', { cause })
}

/** A failed command. */
export function commandError(error: unknown): EngineError {
  if (error instanceof EngineError) return error
  if (error instanceof QmpCommandError)
    return new EngineError('wrong_state', `QEMU refused: ${redact(error.desc)}`, { cause: error })
  return unresponsive(error)
}

/** A failed start that left a record of its end. */
export function launchError(exit: VmExit & Explanation, cause: unknown): EngineError {
  const message = exit.advice === '' ? exit.summary : `${exit.summary} ${exit.advice}`
  const { code, exitCode, signal, stderrTail } = exit
  return new EngineError(launchErrorCode(exit.code), message, {
    details: { reason: code, exitCode, signal, stderrTail },
    cause,
  })
}
