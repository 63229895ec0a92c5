/**
 * Rate limits of a tap, by traffic control. What goes to the guest leaves the host on the tap, where a token bucket
 * holds it back. What comes from the guest arrives there, and arriving packets cannot be queued: they are led through
 * an intermediate interface (ifb) of the tap's own, and its token bucket holds them back. Held back, not dropped, as
 * `police` would: a TCP connection then settles at the limit instead of stumbling over it. tc-tbf(8), tc-mirred(8).
 */
import { NetworkFault } from './fault.ts'
import { attempt, must, readLink, refused } from './links.ts'

/** Kilobytes (1000 bytes) a second into and out of the guest; null: no limit. */
export interface RateLimit {
  readonly inKBps: number | null
  readonly outKBps: number | null
}

/** Longest a packet waits before it is dropped instead. */
const LATENCY_MS = 100
/** What may pass at once: enough for the rate to be reached between two ticks of a slow timer. */
const BURST_SECONDS = 0.05
const MIN_BURST_BYTES = 16_384
/** Ethernet header with a VLAN tag, on top of the MTU. */
const FRAME_OVERHEAD_BYTES = 18

/** The intermediate interface of a tap: the same name with another prefix, so that both are found from one record. */
export const intermediateOf = (tap: string): string => `gi${tap.slice(2)}`

/** Arguments of `tc qdisc` for a token bucket. Pure. */
export function tokenBucket(kBps: number, mtu: number): string[] {
  const burst = Math.max(MIN_BURST_BYTES, mtu + FRAME_OVERHEAD_BYTES, Math.ceil(kBps * 1000 * BURST_SECONDS))
  return ['tbf', 'rate', `${kBps * 8000}bit`, 'burst', `${burst}b`, 'latency', `${LATENCY_MS}ms`]
}

/**
 * Sets, changes or (null) lifts the limits of a tap that exists, at once and without losing packets that are not over
 * the limit. On failure the limits may be half set; the tap itself keeps working.
 * @throws NetworkFault also where the kernel lacks what a limit needs
 */
export async function setRateLimit(tap: string, limit: RateLimit | null): Promise<void> {
  const link = await readLink(tap)
  if (link === null) {
    throw new NetworkFault(
      'host-resource',
      `The guest's network interface ${tap} is gone from the host.`,
      'Restart the guest; something on the host removed it.',
    )
  }
  await limitInto(tap, limit?.inKBps ?? null, link.mtu)
  await limitOutOf(tap, limit?.outKBps ?? null, link.mtu)
}

async function limitInto(tap: string, kBps: number | null, mtu: number): Promise<void> {
  if (kBps === null) {
    // Without one of ours there is nothing to delete, which is what is wanted.
    await attempt('tc', ['qdisc', 'del', 'dev', tap, 'root'])
    return
  }
  await shape(tap, kBps, mtu)
}

async function limitOutOf(tap: string, kBps: number | null, mtu: number): Promise<void> {
  const ifb = intermediateOf(tap)
  if (kBps === null) {
    await attempt('tc', ['qdisc', 'del', 'dev', tap, 'ingress'])
    await attempt('ip', ['link', 'del', 'dev', ifb])
    return
  }
  if ((await readLink(ifb)) === null) {
    mustShape(await attempt('ip', ['link', 'add', 'name', ifb, 'type', 'ifb']), 'ifb')
  }
  await must('ip', ['link', 'set', 'dev', ifb, 'mtu', String(mtu), 'up'], `set up the interface ${ifb}`)
  await shape(ifb, kBps, mtu)
  // Anew each time: a filter left half made by an interrupted change is gone with its qdisc.
  await attempt('tc', ['qdisc', 'del', 'dev', tap, 'ingress'])
  mustShape(await attempt('tc', ['qdisc', 'add', 'dev', tap, 'handle', 'ffff:', 'ingress']), 'sch_ingress')
  const redirect = ['action', 'mirred', 'egress', 'redirect', 'dev', ifb]
  const everything = ['match', 'u32', '0', '0']
  mustShape(
    await attempt('tc', [
      ...['filter', 'add', 'dev', tap, 'parent', 'ffff:', 'protocol', 'all', 'prio', '1', 'u32'],
      ...everything,
      ...redirect,
    ]),
    'cls_u32 and act_mirred',
  )
}

async function shape(device: string, kBps: number, mtu: number): Promise<void> {
  mustShape(await attempt('tc', ['qdisc', 'replace', 'dev', device, 'root', ...tokenBucket(kBps, mtu)]), 'sch_tbf')
}

/** @param modules of the kernel that the step needs @throws NetworkFault */
function mustShape(refusal: string | null, modules: string): void {
  if (refusal === null) return
  const fault = refused("limit the rate of a guest's network card", refusal)
  if (fault.code === 'permission-denied') throw fault
  throw new NetworkFault(
    'host-resource',
    fault.summary,
    `Remove the card's rate limit, or install a kernel that has ${modules}.`,
  )
}
