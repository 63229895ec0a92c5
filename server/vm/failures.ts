/**
 * Why a QEMU process did not start or ended, in words: pure, from the exit code or signal, the end of stderr and the
 * last run state. The patterns are QEMU's own messages (7.2 to 11.1); `failures.test.ts` keeps real ones.
 */
import type { ErrorCode } from '#lib/schema/error.ts'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { DRIVE_RULES } from './failures-drives.ts'
import { HOST_RULES } from './failures-host.ts'
import { MACHINE_RULES } from './failures-machine.ts'

export interface Evidence {
  readonly phase: 'launch' | 'run'
  readonly exitCode: number | null
  readonly signal: string | null
  /** The end of stderr as it is; redacted here. */
  readonly stderr: string
  /** `code` of the error that kept the program from being started at all. */
  readonly spawnError?: string | null
  /** QEMU's run state when last known. */
  readonly runState?: string | null
  /** The kernel's OOM killer struck somewhere on the host while this process lived. */
  readonly oomKill?: boolean
  /** It struck in the guest's own control group, for its own limit. */
  readonly metMemoryCap?: boolean
  /** It lived but did not get ready in time. */
  readonly timedOut?: boolean
  /** Host path → what to call it in front of people. */
  readonly names?: ReadonlyMap<string, string>
  /** The reason where it is known already. */
  readonly known?: Explanation
}

export type Explanation = Pick<VmExit, 'code' | 'summary' | 'advice'>

export const STDERR_TAIL_BYTES = 4096

const PATH_IN_QUOTES = /(['"])\/(?!dev\/)(?:[^'"\n]*\/)?([^'"\n/]*)\1/g
const BARE_PATH = /(?<![\w./…])\/(?!dev\/)(?:[^\s'"\],:;()/]+\/)*([^\s'"\],:;()/]*)/g

// QEMU repeats the whole option it complains about; its message after that says enough.
const QUOTED_OPTION = /(?<= -[a-z]+ )\{.*\}(?=: )/g

/** Host paths become the name people know, or the last part alone. Control characters become spaces. */
export function redact(text: string, names: ReadonlyMap<string, string> = new Map()): string {
  let clean = text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, ' ')
  for (const [path, name] of [...names].sort(([a], [b]) => b.length - a.length)) {
    clean = clean.replaceAll(path, name.replaceAll('/', '_'))
  }
  return clean
    .replace(QUOTED_OPTION, '{…}')
    .replace(PATH_IN_QUOTES, '$1…/$2$1')
    .replace(BARE_PATH, (whole, last: string) => (whole === '/' ? whole : `…/${last}`))
}

/** The last 4 KiB of redacted stderr, starting on a whole line where it can. */
export function stderrTail(text: string, names?: ReadonlyMap<string, string>): string {
  const clean = redact(text, names)
  if (Buffer.byteLength(clean) <= STDERR_TAIL_BYTES) return clean.trimEnd()
  const tail = Buffer.from(clean)
    .subarray(-STDERR_TAIL_BYTES)
    .toString('utf8')
    .replace(/^\ufffd+/, '')
  const newline = tail.indexOf('\n')
  return (newline >= 0 && newline < tail.length - 1 ? tail.slice(newline + 1) : tail).trimEnd()
}

interface Rule {
  readonly pattern: RegExp
  explain(match: RegExpExecArray, name: (path: string) => string): Explanation
}

const RULES: readonly Rule[] = [
  // Before the general ones: they say which device it was.
  ...HOST_RULES,
  ...MACHINE_RULES,
  ...DRIVE_RULES,
  {
    pattern:
      /failed to execute .*: No such file or directory|: exec: .*: not found|prlimit: .*No such file or directory/,
    explain: () => ({
      code: 'qemu-missing',
      summary: 'The QEMU program, or a program that starts it, is not installed.',
      advice: 'Install the missing packages shown on the host page, then start again.',
    }),
  },
  {
    pattern: /KVM internal error|kvm run failed|KVM_EXIT_INTERNAL/i,
    explain: () => KVM_INTERNAL_ERROR,
  },
  {
    pattern: /Failed to get (?:shared )?"[\w ]+" lock(?:\n.*\[(?<path>[^\]\n]+)\])?/,
    explain: (match, name) => ({
      code: 'image-in-use',
      summary: match.groups?.path
        ? `Another program is using ${name(match.groups.path)}.`
        : 'Another program is using one of its disk images.',
      advice: 'Shut down the VM or end the program that uses the image, then start again.',
    }),
  },
  {
    pattern: /annot lock pid file/,
    explain: () => ({
      code: 'image-in-use',
      summary: 'A QEMU process of this very VM is still running.',
      advice: 'Restart the dashboard to take it over, or end that process.',
    }),
  },
  {
    pattern: /Could not set up host forwarding rule '(?<rule>(?<protocol>tcp|udp):[^:']*:(?<port>\d+)-[^']*)'/,
    explain: (match) => ({
      code: 'port-in-use',
      summary: `Port ${match.groups?.port} (${match.groups?.protocol?.toUpperCase()}) of the host is taken, so it cannot be forwarded to the guest.`,
      advice: "Choose another host port in the VM's network card, or end the program that listens there.",
    }),
  },
  {
    pattern: /Address already in use/,
    explain: () => ({
      code: 'port-in-use',
      summary: 'An address or port that the VM needs on the host is taken.',
      advice: 'Choose another port, or end the program that listens there.',
    }),
  },
  {
    pattern:
      /cannot set up guest memory|unable to map backing store for guest RAM|jit buffer: Cannot allocate memory|failed to resize memfd|: Cannot allocate memory|Out of memory/,
    explain: () => ({
      code: 'out-of-memory',
      summary: 'The host could not give the guest its memory.',
      advice: 'Give the VM less memory, or shut down other guests first.',
    }),
  },
  {
    pattern: /Could not access KVM kernel module: (?<why>.*)|failed to initialize kvm: (?<why2>.*)/i,
    explain: (match) => {
      const denied = /Permission denied/.test(`${match.groups?.why}${match.groups?.why2}`)
      return {
        code: denied ? 'permission-denied' : 'exit',
        summary: denied ? 'QEMU may not open /dev/kvm.' : 'KVM is not available on this host.',
        advice: denied
          ? "Let the group kvm read and write /dev/kvm, or set the VM's accelerator to TCG."
          : "See the host page for what is missing, or set the VM's accelerator to TCG.",
      }
    },
  },
  {
    pattern:
      /[Cc]ould not (?:open|load)(?: [A-Za-z ]+)? '(?<path>[^'\n]+)': No such file or directory|Could not open (?<path2>\/\S+): No such/,
    explain: (match, name) => missing(name(match.groups?.path ?? match.groups?.path2 ?? '')),
  },
  {
    pattern: /could not load (?:PC BIOS|option rom|firmware)[^'\n]*'(?<path>[^'\n]+)'/i,
    explain: (match, name) => ({
      code: 'image-missing',
      summary: `The firmware file ${name(match.groups?.path ?? '')} cannot be read.`,
      advice: 'Reinstall the firmware package (SeaBIOS or OVMF), then start again.',
    }),
  },
  {
    pattern: /Could not open '(?<path>[^'\n]+)': Permission denied/,
    explain: (match, name) => ({
      code: 'permission-denied',
      summary: `QEMU may not open ${name(match.groups?.path ?? '')}.`,
      advice: "Give the VM's user access to the file and search permission on the directories above it.",
    }),
  },
  {
    pattern: /Permission denied|Operation not permitted/,
    explain: () => ({
      code: 'permission-denied',
      summary: 'The host denied QEMU something it needs.',
      advice: 'The end of its messages, below, says what. Check owner and mode of that file or device.',
    }),
  },
  {
    pattern:
      /Image is not in (?<format>\w+) format|Unsupported (?<version>\w+) version|Image is corrupt|qcow2: Marking image as corrupt|Could not read (?:qcow2 header|L1 table|L2 table)|is corrupt/,
    explain: (match) => ({
      code: 'exit',
      summary: `A disk image is damaged or not in the expected format${match.groups?.format ? ` (${match.groups.format})` : ''}.`,
      advice: 'Restore the image from a backup or add it to the library again.',
    }),
  },
  {
    pattern: /No space left on device/,
    explain: () => ({
      code: 'exit',
      summary: 'The host has no space left for something QEMU must write.',
      advice: 'Free some space on the host, then start again.',
    }),
  },
  {
    pattern: /unable to find CPU model '(?<model>[^'\n]+)'/,
    explain: (match) => badOption(`This QEMU has no CPU model "${match.groups?.model}".`),
  },
  {
    pattern: /CPU model '(?<model>[^'\n]+)' requires KVM/,
    explain: (match) => badOption(`The CPU model "${match.groups?.model}" needs KVM.`),
  },
  {
    pattern: /unsupported machine type/,
    explain: () => badOption('This QEMU does not have the machine type the VM was created with.'),
  },
  {
    pattern:
      /invalid option|is not a valid device model name|Property '[^'\n]*' not found|Parameter '[^'\n]*'|[Ii]nvalid parameter|invalid accelerator|Invalid (?:SMP )?CPUs?|Duplicate ID|not a valid/,
    explain: () => badOption('QEMU refused an option of its command line.'),
  },
]

const KVM_INTERNAL_ERROR: Explanation = {
  code: 'kvm-internal-error',
  summary: 'KVM could not execute the guest: it reported an internal error.',
  advice:
    "KVM opens on this host but cannot run this guest. Set the VM's accelerator to TCG; the host page shows the evidence.",
}

function missing(what: string): Explanation {
  return {
    code: 'image-missing',
    summary: `A file is missing: ${what || 'one that QEMU needs'}.`,
    advice: 'Put the file back, or remove the drive that uses it.',
  }
}

function badOption(summary: string): Explanation {
  return {
    code: 'bad-option',
    summary,
    advice: 'Change the setting. If the VM ran before, the installed QEMU has changed since.',
  }
}

const SIGNAL_WORDS: Readonly<Record<string, string>> = {
  SIGSEGV: 'It accessed memory it must not: a fault in QEMU itself.',
  SIGABRT: 'It stopped itself on an inner contradiction: a fault in QEMU itself.',
  SIGBUS: 'Memory or a mapped file went away beneath it.',
  SIGILL: 'It met an instruction this processor does not have.',
  SIGFPE: 'It divided by zero: a fault in QEMU itself.',
}

/** Explains a process that failed to start, or ended without anybody having asked. */
export function explain(evidence: Evidence): Explanation {
  const { signal, exitCode, stderr, spawnError, runState, phase } = evidence
  if (evidence.known) return evidence.known
  if (runState === 'internal-error') return KVM_INTERNAL_ERROR
  if (signal === 'SIGSYS') {
    return {
      code: 'sandbox-kill',
      summary: 'The system-call sandbox ended QEMU: it tried something it must never do.',
      advice: 'If the guest is trusted and this repeats, report it together with the QEMU version.',
    }
  }
  // Of one that is not our child no signal is known.
  if (evidence.metMemoryCap && (signal === 'SIGKILL' || (signal === null && exitCode === null))) {
    return {
      code: 'out-of-memory',
      summary: 'The kernel ended QEMU because it came to the limit of memory of its own VM.',
      advice:
        'Other guests were not touched. QEMU should not need so much: start it again, and if it comes back, switch the limit off under “Share of the host”.',
    }
  }
  if (signal === 'SIGKILL' && evidence.oomKill) {
    return {
      code: 'out-of-memory',
      summary: 'The kernel ended QEMU because the host ran out of memory.',
      advice: 'Give the guests less memory in total, or add memory or swap to the host.',
    }
  }
  switch (spawnError) {
    case undefined:
    case null:
      break
    case 'ENOENT':
      return {
        code: 'qemu-missing',
        summary: 'The QEMU program, or a program that starts it, is not installed.',
        advice: 'Install the missing packages shown on the host page, then start again.',
      }
    case 'EACCES':
    case 'EPERM':
      return {
        code: 'permission-denied',
        summary: 'The dashboard may not run the QEMU program.',
        advice: 'Make the program executable for the user that the dashboard runs as.',
      }
    case 'EAGAIN':
    case 'ENOMEM':
    case 'EMFILE':
    case 'ENFILE':
      return {
        code: 'out-of-memory',
        summary: 'The host cannot start another process.',
        advice: 'Shut down other guests, or raise the limits on processes, files and memory.',
      }
    default:
      return { code: 'exit', summary: `QEMU could not be started (${spawnError}).`, advice: 'Check the host.' }
  }
  // A signal other than KILL may still leave the reason in stderr; a message is better evidence than the signal.
  const name = (path: string) => evidence.names?.get(path) ?? redact(path)
  for (const rule of RULES) {
    const match = rule.pattern.exec(stderr)
    if (match) return rule.explain(match, name)
  }
  if (evidence.timedOut) {
    return {
      code: 'timeout',
      summary: 'QEMU started but did not get ready in time.',
      advice: 'The host may be overloaded. Try again; if it repeats, see the end of its messages.',
    }
  }
  if (signal !== null) {
    return {
      code: 'signal',
      summary:
        signal === 'SIGKILL'
          ? 'QEMU was killed from outside (SIGKILL).'
          : `QEMU was ended by ${signal}. ${SIGNAL_WORDS[signal] ?? ''}`.trimEnd(),
      advice:
        signal === 'SIGKILL'
          ? 'Find out who or what killed it; its disks are as after a power cut.'
          : 'Start it again; its disks are as after a power cut. If it repeats, see the end of its messages.',
    }
  }
  return {
    code: 'exit',
    summary:
      exitCode === null
        ? 'QEMU ended without notice; its exit status went to another process.'
        : phase === 'launch'
          ? `QEMU ended at once with exit code ${exitCode}.`
          : `QEMU ended by itself with exit code ${exitCode}.`,
    advice:
      exitCode === 0
        ? ''
        : stderr.trim() === ''
          ? 'It left no message. Start it again; its disks are as after a power cut.'
          : 'The end of its messages, below, may say more.',
  }
}

/** The API's error code for a launch that failed this way. */
export function launchErrorCode(code: VmExit['code']): ErrorCode {
  switch (code) {
    case 'port-in-use':
      return 'port_in_use'
    case 'image-in-use':
      return 'image_in_use'
    case 'image-missing':
      return 'image_missing'
    case 'kvm-internal-error':
      return 'accelerator_unusable'
    case 'timeout':
      return 'unresponsive'
    default:
      return 'launch_failed'
  }
}
