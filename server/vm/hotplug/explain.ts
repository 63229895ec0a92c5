/** QEMU's refusals of a live change in words for people. Pure. */
import type { ErrorCode } from '#lib/schema/error.ts'
import { EngineError } from '#server/engine/errors.ts'
import { NetworkFault } from '#server/network/fault.ts'
import { errorCode } from '#server/platform/fs.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import { redact } from '../failures.ts'
import { HostFault } from '../helpers/fault.ts'

interface Known {
  readonly words: RegExp
  readonly code: ErrorCode
  readonly message: string
}

/** QEMU's sentences are meant for people and change between versions; what is not known here is shown as it is. */
const KNOWN: readonly Known[] = [
  {
    words: /Failed to get "?(write|shared|consistent read)"? lock|lock.*another process/i,
    code: 'image_in_use',
    message: 'Another program or VM uses the same file.',
  },
  {
    words: /Could not set up host forwarding rule|Address already in use/i,
    code: 'port_in_use',
    message: 'Another program on the host has that port.',
  },
  {
    words: /No such file or directory/i,
    code: 'image_missing',
    message: 'A file it needs is missing on the host.',
  },
  {
    words: /Permission denied|Operation not permitted/i,
    code: 'conflict',
    message: 'The host denies this guest access to something it needs.',
  },
  { words: /No space left/i, code: 'no_space', message: 'The host has no space left for it.' },
  {
    words: /not enough (free )?space|no slots|more slots|not enough memory|exceeds? .*maxmem|cannot allocate memory/i,
    code: 'conflict',
    message: 'There is no room left for more memory in the running guest.',
  },
]

/** @param field dotted path of what was asked for */
export function refusedStep(error: unknown, field: string, what: string): EngineError {
  if (error instanceof EngineError) {
    return error.field === undefined ? new EngineError(error.code, error.message, { field, cause: error }) : error
  }
  if (error instanceof HostFault || error instanceof NetworkFault) {
    const { summary, advice } = error instanceof HostFault ? error.known : error
    return new EngineError('conflict', `${what}: ${summary} ${advice}`.trim(), { field, cause: error })
  }
  if (errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT') {
    return new EngineError('no_space', `${what}: the host has no space left for the record of what runs.`, {
      field,
      cause: error,
    })
  }
  if (!(error instanceof QmpCommandError)) {
    return new EngineError('unresponsive', `${what}: QEMU did not answer in time. Nothing was stored.`, {
      field,
      cause: error,
    })
  }
  const known = KNOWN.find(({ words }) => words.test(error.desc))
  const message = known?.message ?? 'QEMU refused.'
  return new EngineError(known?.code ?? 'conflict', `${what}: ${message} QEMU's words: ${redact(error.desc)}`, {
    field,
    cause: error,
  })
}
