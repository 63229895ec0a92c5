/** Why a helper program did not serve its guest, in words: pure, from what it said and how it ended. */
import type { ProcessExit } from '#server/platform/process.ts'
import type { PlannedHelper } from '#server/spec/types.ts'
import { type Explanation, redact } from '../failures.ts'

/** What people know each helper by. */
const PROGRAMS: Readonly<Record<PlannedHelper['kind'], { program: string; serves: (id: string) => string }>> = {
  swtpm: { program: 'swtpm', serves: () => 'the TPM' },
  virtiofsd: { program: 'virtiofsd', serves: (id) => `the shared folder “${id}”` },
}

interface HelperRule {
  readonly kind?: PlannedHelper['kind']
  readonly pattern: RegExp
  explain(words: { program: string; what: string }): Explanation
}

const failed = (summary: string, advice: string, code: Explanation['code'] = 'helper-failed'): Explanation => ({
  code,
  summary,
  advice,
})

// The programs' own messages: swtpm 0.7 to 0.10; virtiofsd of QEMU 7.2 and the Rust one (1.10 to 1.13).
const RULES: readonly HelperRule[] = [
  {
    pattern: /exec: \S+: not found|failed to execute .*: No such file|: not found$/m,
    explain: ({ program, what }) =>
      failed(`${program}, the program that serves ${what}, is not installed.`, `Install ${program}, then start again.`),
  },
  {
    kind: 'swtpm',
    pattern: /Could not (?:lock access to lockfile|open lockfile)|SWTPM_NVRAM_Lock/,
    explain: () => HELD_TPM,
  },
  {
    kind: 'swtpm',
    pattern:
      /Could not (?:load|decrypt)|Failed to (?:load|decrypt|deserialize)|TPM_FAIL|failed to (?:load|restore) .*state|Error: Could not initialize (?:libtpms|the TPM)/i,
    explain: () =>
      failed(
        "The TPM's stored state is damaged or was written by a newer swtpm.",
        "Restore the VM's TPM state from a backup, or switch its TPM off and on again for an empty one: keys sealed in it are then lost.",
      ),
  },
  {
    kind: 'virtiofsd',
    // A limit of zero namespaces is "no space" in the kernel's words.
    pattern: /unshare failed|uid_map|gid_map/,
    explain: () =>
      failed(
        'virtiofsd cannot lock itself in: the host forbids user namespaces to ordinary users.',
        'Allow them (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0), or use 9p for this folder.',
        'permission-denied',
      ),
  },
  {
    pattern: /No space left on device/,
    explain: ({ program }) =>
      failed(`The host has no space left for ${program}.`, 'Free some space, then start again.'),
  },
  {
    kind: 'virtiofsd',
    pattern: /fv_socket_lock/,
    explain: () =>
      failed(
        'virtiofsd cannot use its directory /run/virtiofsd.',
        'Run once as root: install -d -m 1777 /run/virtiofsd. The dashboard does so itself when it runs as root.',
        'permission-denied',
      ),
  },
  {
    kind: 'virtiofsd',
    pattern:
      /failed to stat source .*No such file|mount point does not exist|special device .* does not exist|source is not a directory|shared[ _-]dir.*No such file/i,
    explain: ({ what }) =>
      failed(
        `${what[0]?.toUpperCase()}${what.slice(1)} is a directory that the host does not have.`,
        'Create it, or choose another.',
        'host-resource',
      ),
  },
  {
    // mount(8) has no words for a path that its user may not pass.
    pattern: /Permission denied|Operation not permitted|mount: .* bind .* failed/,
    explain: ({ program, what }) =>
      failed(
        `The host denied ${program} something it needs for ${what}.`,
        program === 'virtiofsd'
          ? "Give the VM's user access to the directory, and search permission on the directories above it."
          : "Check owner and mode of the VM's directories.",
        'permission-denied',
      ),
  },
]

/** Another living program has the TPM's state open. */
export const HELD_TPM: Explanation = failed(
  "Another program is using this VM's TPM state.",
  'End the swtpm process that holds it, then start again. Two users at once would destroy it.',
)

/** How a helper ended, for the middle of a sentence. */
const howEnded = (exit: ProcessExit | null): string =>
  exit === null || (exit.code === null && exit.signal === null)
    ? 'it ended'
    : exit.signal !== null
      ? `it was ended by ${exit.signal}`
      : `it ended with exit code ${exit.code}`

/** The last line a helper wrote, for people. Pure. */
export function lastWords(stderr: string, names?: ReadonlyMap<string, string>): string {
  return redact(stderr, names).trim().split('\n').at(-1)?.trim().slice(0, 300) ?? ''
}

/**
 * Why it did not begin to serve.
 * @param exit null while it lives but does not listen
 */
export function explainStart(
  helper: Pick<PlannedHelper, 'id' | 'kind'>,
  stderr: string,
  exit: ProcessExit | null,
): Explanation {
  const { program, serves } = PROGRAMS[helper.kind]
  const what = serves(helper.id)
  for (const rule of RULES) {
    if ((rule.kind ?? helper.kind) === helper.kind && rule.pattern.test(stderr)) return rule.explain({ program, what })
  }
  const words = lastWords(stderr)
  const told = words === '' ? 'It left no message.' : `Its last words: ${words}`
  return exit === null
    ? failed(`${program}, the program that serves ${what}, did not get ready in time.`, `Try again. ${told}`, 'timeout')
    : failed(`${program}, the program that serves ${what}, failed: ${howEnded(exit)}.`, told)
}

/** The program itself could not be started. @param code `code` of the system error */
export function explainSpawn(helper: Pick<PlannedHelper, 'id' | 'kind'>, code: string | null): Explanation {
  const { program, serves } = PROGRAMS[helper.kind]
  return code === 'EAGAIN' || code === 'ENOMEM' || code === 'EMFILE' || code === 'ENFILE'
    ? failed('The host cannot start another process.', 'Shut down other guests, or raise its limits.', 'out-of-memory')
    : failed(
        `${program}, the program that serves ${serves(helper.id)}, cannot be started${code === null ? '' : ` (${code})`}.`,
        'Install the missing packages shown on the host page, then start again.',
      )
}

/** What it means for a running guest that a helper has ended. One or two sentences. */
export function explainLoss(
  helper: Pick<PlannedHelper, 'id' | 'kind'>,
  exit: ProcessExit | null,
  stderr: string,
): string {
  const words = lastWords(stderr)
  const said = words === '' ? '' : ` (${words})`
  return helper.kind === 'swtpm'
    ? `Its TPM has stopped: ${howEnded(exit)}${said}. The guest gets it back when it is shut down and started again.`
    : `The shared folder “${helper.id}” has stopped: ${howEnded(exit)}${said}. Programs in the guest that use it hang until the guest is shut down and started again.`
}
