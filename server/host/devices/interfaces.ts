/** Network interfaces of the host, bridges and taps among them, from /sys/class/net. */
import type { HostInterface } from '#lib/schema/host-devices.ts'
import type { Tree } from './tree.ts'

/** include/uapi/linux/if_arp.h */
const ARPHRD_LOOPBACK = 772
/** include/uapi/linux/if_tun.h */
const IFF_TAP = 2

export function readInterfaces(tree: Tree): HostInterface[] {
  return tree
    .list('sys/class/net')
    .filter((name) => tree.exists(`sys/class/net/${name}/type`))
    .map((name) => {
      const dir = `sys/class/net/${name}`
      const kind = kindOf(tree, dir)
      return {
        name,
        kind,
        up: tree.text(`${dir}/operstate`) === 'up' || (kind === 'loopback' && isFlaggedUp(tree, dir)),
        mac: tree.text(`${dir}/address`) || null,
        mtu: tree.int(`${dir}/mtu`),
        master: tree.link(`${dir}/master`),
        members: membersOf(tree, dir, kind),
      }
    })
}

function kindOf(tree: Tree, dir: string): HostInterface['kind'] {
  if (tree.int(`${dir}/type`) === ARPHRD_LOOPBACK) return 'loopback'
  if (tree.exists(`${dir}/bridge`)) return 'bridge'
  if (tree.exists(`${dir}/bonding`)) return 'bond'
  const tun = tree.int(`${dir}/tun_flags`)
  if (tun !== null) return (tun & IFF_TAP) === 0 ? 'virtual' : 'tap'
  if (/^DEVTYPE=vlan$/m.test(tree.text(`${dir}/uevent`) ?? '')) return 'vlan'
  return tree.exists(`${dir}/device`) ? 'physical' : 'virtual'
}

/** IFF_UP; loopback has no operational state. */
function isFlaggedUp(tree: Tree, dir: string): boolean {
  return ((tree.int(`${dir}/flags`) ?? 0) & 1) === 1
}

function membersOf(tree: Tree, dir: string, kind: HostInterface['kind']): string[] {
  if (kind === 'bridge') return tree.list(`${dir}/brif`)
  if (kind !== 'bond') return []
  return (tree.text(`${dir}/bonding/slaves`) ?? '').split(/\s+/).filter((name) => name !== '')
}
