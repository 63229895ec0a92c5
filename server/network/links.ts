/**
 * Network interfaces through iproute2. Interfaces are asked for over netlink (`ip -json`), not read from /sys: that
 * shows the network namespace it was mounted in, which need not be ours.
 */
import * as z from 'zod'
import { type CapturedOutput, captureOutput, findExecutable } from '#server/platform/child.ts'
import { NetworkFault } from './fault.ts'

/** The kernel holds one lock over all changes of interfaces; a busy host makes them wait. */
const TIMEOUT_MS = 10_000

const Link = z.object({
  ifname: z.string(),
  flags: z.array(z.string()),
  mtu: z.int(),
  master: z.string().optional(),
  operstate: z.string().optional(),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z
        .object({ type: z.string().optional(), user: z.union([z.string(), z.number()]).optional() })
        .loose()
        .optional(),
    })
    .optional(),
})
/** An interface as `ip -json -details link` tells it. */
export type LinkFacts = z.output<typeof Link>

/** @throws NetworkFault the program is not installed, or does not end in time */
async function run(name: 'ip' | 'tc', args: readonly string[]): Promise<CapturedOutput> {
  const program = findExecutable(name)
  const result = program === null ? null : await captureOutput(program, args, { timeoutMs: TIMEOUT_MS })
  if (result === null) {
    throw new NetworkFault(
      'host-resource',
      `The program ${name} is not installed, so the guest cannot be connected to a bridge.`,
      'Install the package iproute2.',
    )
  }
  if (result.signal !== null) {
    throw new NetworkFault(
      'host-resource',
      'The host does not answer when its network interfaces are changed.',
      'Try again; if it repeats, look for a stuck network driver in the log of the kernel.',
    )
  }
  return result
}

/** Exit code 0, or what the program complained about; for callers that expect refusals. @throws NetworkFault */
export async function attempt(name: 'ip' | 'tc', args: readonly string[]): Promise<string | null> {
  const { code, stderr } = await run(name, args)
  return code === 0 ? null : complaint(stderr)
}

/** @param what completes "The host cannot …" @throws NetworkFault with the program's own words */
export async function must(name: 'ip' | 'tc', args: readonly string[], what: string): Promise<void> {
  const refusal = await attempt(name, args)
  if (refusal !== null) throw refused(what, refusal)
}

/** A refusal of the kernel's as a fault. @param what completes "The host cannot …" */
export function refused(what: string, words: string): NetworkFault {
  return /not permitted|Permission denied/i.test(words)
    ? new NetworkFault(
        'permission-denied',
        `The dashboard may not ${what}: ${words}`,
        'Run the dashboard as root, or with the capability CAP_NET_ADMIN.',
      )
    : new NetworkFault('host-resource', `The host cannot ${what}: ${words}`, 'The words after the colon are its own.')
}

/** First line that says something; iproute2 adds lines about netlink that help nobody. */
function complaint(stderr: string): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.replace(/^(?:RTNETLINK answers|Error|ioctl\([A-Z]+\)): /, '').trim())
  return lines.find((line) => line !== '' && !line.startsWith('We have an error')) ?? 'no reason given'
}

/** Null when there is no interface of this name. @throws NetworkFault */
export async function readLink(name: string): Promise<LinkFacts | null> {
  const { code, stdout, stderr } = await run('ip', ['-json', '-details', 'link', 'show', 'dev', name])
  if (code !== 0) {
    if (/does not exist|Cannot find device/.test(stderr)) return null
    throw refused(`look at the interface ${name}`, complaint(stderr))
  }
  return Link.parse(z.tuple([z.unknown()], z.unknown()).parse(JSON.parse(stdout))[0])
}

/** Whether a program has the tap open: the kernel then shows it as connected. Only known while it is up. */
export const isTapOpen = (link: LinkFacts): boolean => link.flags.includes('LOWER_UP')
