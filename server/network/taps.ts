/**
 * Taps: the host's ends of the guests' network cables, made before QEMU starts, plugged into a bridge that the
 * administrator has set up, and removed after QEMU has ended. They are persistent, so that QEMU's user, who may make
 * none, can open his own; hence nothing but us removes them. Names begin with `gd` and come from the VM's id.
 */
import { createHash } from 'node:crypto'
import { fileMode } from '#server/platform/fs.ts'
import type { LaunchUser, PlannedTap } from '#server/spec/types.ts'
import { NetworkFault } from './fault.ts'
import { attempt, isTapOpen, must, readLink, refused } from './links.ts'
import { intermediateOf, setRateLimit } from './rate-limit.ts'

const TUN = '/dev/net/tun'
const NAME = /^gd[A-Za-z0-9_.-]{1,13}$/

/**
 * Makes the tap, plugs it into its bridge, limits its rate, and switches it on. What an earlier run left under the
 * same name is replaced. On failure nothing of it remains.
 * @param user who will open it; null: the dashboard's own user
 * @throws NetworkFault bridge missing or no bridge, rights, tools, a name in use
 */
export async function makeTap(tap: PlannedTap, user: Pick<LaunchUser, 'uid' | 'gid' | 'groups'> | null): Promise<void> {
  const { name } = tap
  if (!NAME.test(name)) throw new RangeError(`${name} is no name for a tap of ours`)
  await using undo = new AsyncDisposableStack()
  await checkBridge(tap.bridge)
  await checkAccess(user)
  await clearName(name, user)
  undo.defer(() => removeTap(name))
  const owner = user === null ? [] : ['user', String(user.uid)]
  const queues = tap.multiQueue ? ['multi_queue'] : []
  const refusal = await attempt('ip', ['tuntap', 'add', 'dev', name, 'mode', 'tap', ...owner, ...queues])
  if (refusal !== null) throw refusedTap(refusal)
  const set = (...what: string[]) => must('ip', ['link', 'set', 'dev', name, ...what], `set up the interface ${name}`)
  // The host itself has no business on the guest's cable. And a bridge takes over the lowest address plugged into it
  // (a change that would cut the host's own connections), so this one starts high.
  await set('address', addressOf(name), 'addrgenmode', 'none')
  if (tap.mtu !== null) await set('mtu', String(tap.mtu))
  await must('ip', ['link', 'set', 'dev', name, 'master', tap.bridge], `plug a guest into the bridge ${tap.bridge}`)
  if (tap.rateLimit !== null) await setRateLimit(name, tap.rateLimit)
  await set('up')
  undo.move()
}

/**
 * Removes a tap and what belongs to it. Idempotent. A program that still has it open loses its connection.
 * @throws NetworkFault rights, tools
 */
export async function removeTap(name: string): Promise<void> {
  if (!NAME.test(name)) throw new RangeError(`${name} is no name for a tap of ours`)
  for (const device of [name, intermediateOf(name)]) {
    const refusal = await attempt('ip', ['link', 'del', 'dev', device])
    if (refusal !== null && !/Cannot find device|does not exist/.test(refusal)) {
      throw refused(`remove the network interface ${device}`, refusal)
    }
  }
}

async function checkBridge(bridge: string): Promise<void> {
  const link = await readLink(bridge)
  if (link === null) {
    throw new NetworkFault(
      'host-resource',
      `The host has no bridge called ${bridge}.`,
      "Set it up on the host, or choose another bridge in the VM's network card.",
    )
  }
  const kind = link.linkinfo?.info_kind
  if (kind === 'bridge') return
  throw new NetworkFault(
    'host-resource',
    `${bridge} is a network interface of the host but no bridge${kind === undefined ? '' : ` (it is of kind ${kind})`}.`,
    "Choose a Linux bridge in the VM's network card.",
  )
}

/** The kernel lets a tap's owner open it, but he must get at the device file first. */
async function checkAccess(user: Pick<LaunchUser, 'uid' | 'gid' | 'groups'> | null): Promise<void> {
  const device = await fileMode(TUN)
  if (device === null) {
    throw new NetworkFault(
      'host-resource',
      `The host has no ${TUN}, so the guest cannot be connected to a bridge.`,
      'Load the kernel module tun (in a container: hand the device through).',
    )
  }
  if (user === null) return
  const inGroup = user.gid === device.gid || user.groups.includes(device.gid)
  const bits = user.uid === device.uid ? device.mode >> 6 : inGroup ? device.mode >> 3 : device.mode
  if ((bits & 0o6) === 0o6) return
  throw new NetworkFault(
    'permission-denied',
    `${TUN} lets only its owner in (mode ${(device.mode & 0o777).toString(8)}), and guests run as users of their own.`,
    `Run: chmod 0666 ${TUN}. That is safe, and usual: making a tap needs a privilege besides.`,
  )
}

/** Frees the name: a tap of ours that nobody has open is a leftover of a run that was cut short. */
async function clearName(name: string, user: Pick<LaunchUser, 'uid'> | null): Promise<void> {
  const link = await readLink(name)
  if (link === null) return
  const { info_kind: kind, info_data: about } = link.linkinfo ?? {}
  const owner = about?.user
  // iproute2 tells a user by name where he has one; ours have none.
  const isForeign = user !== null && owner !== undefined && /^\d+$/.test(String(owner)) && Number(owner) !== user.uid
  const isOurs = kind === 'tun' && about?.type === 'tap' && !isForeign
  if (isOurs && !isTapOpen(link)) {
    await removeTap(name)
    return
  }
  throw new NetworkFault(
    'host-resource',
    `The host already has a network interface called ${name}, the name this guest's card goes by.`,
    isOurs
      ? 'A program has it open, perhaps a QEMU of this VM: end it, or restart the dashboard to take it over.'
      : 'Something else made it: rename or remove it.',
  )
}

function refusedTap(words: string): NetworkFault {
  return refused('make a network interface for the guest (tap)', words)
}

/** Local, unicast, and higher than what cards and QEMU use; the same for the same name. */
function addressOf(name: string): string {
  const digest = createHash('sha256').update(name).digest()
  return ['fe', ...Array.from(digest.subarray(0, 5), (byte) => byte.toString(16).padStart(2, '0'))].join(':')
}
