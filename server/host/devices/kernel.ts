/** Device nodes of the kernel that guests need, and whether QEMU's user may open them. */
import type { KernelDevice } from '#lib/schema/host-devices.ts'
import type { ChildUser } from '#server/platform/child.ts'
import { mayReadWrite } from '../accelerator.ts'
import type { Tree } from './tree.ts'

interface Node {
  readonly id: KernelDevice['id']
  readonly path: string
  readonly purpose: string
  /** Module that brings it. */
  readonly module: string | null
  /** Opened by the dashboard on a guest's behalf, not by QEMU. */
  readonly byDashboard?: true
}

const NODES: readonly Node[] = [
  { id: 'kvm', path: 'dev/kvm', purpose: 'Runs guest code on the CPU itself.', module: null },
  {
    id: 'tun',
    path: 'dev/net/tun',
    purpose: 'Connects a guest to a bridge of this host.',
    module: 'tun',
    byDashboard: true,
  },
  {
    id: 'vhost-net',
    path: 'dev/vhost-net',
    purpose: 'Moves network packets in the kernel instead of in QEMU: faster cards on a bridge.',
    module: 'vhost_net',
  },
  {
    id: 'vhost-vsock',
    path: 'dev/vhost-vsock',
    purpose: 'Sockets between host and guest without a network.',
    module: 'vhost_vsock',
  },
  {
    id: 'vfio',
    path: 'dev/vfio/vfio',
    purpose: 'Hands PCI devices of this host to a guest.',
    module: 'vfio-pci',
  },
]

/**
 * @param user whom QEMU runs as; null when it shares ours
 * @param isRoot whether commands need no sudo
 */
export function readKernelDevices(tree: Tree, user: ChildUser | null, isRoot: boolean): KernelDevice[] {
  return NODES.map((node) => {
    const path = `/${node.path}`
    const facts = tree.stat(node.path)
    const sudo = isRoot ? '' : 'sudo '
    const known = { id: node.id, path, purpose: node.purpose }
    if (facts === null) {
      const command = node.module === null ? null : `${sudo}modprobe ${node.module}`
      const detail = `There is no ${path}${node.module === null ? '' : `: the kernel module ${node.module} is not loaded`}.`
      return { ...known, present: false, opens: false, detail, command }
    }
    const opener = node.byDashboard === true ? null : user
    const opens = opener === null ? mayOpenOurselves(facts) : mayReadWrite(facts, opener)
    if (opens) return { ...known, present: true, opens, detail: `${path} is there and may be opened.`, command: null }
    return {
      ...known,
      present: true,
      opens,
      detail: `${path} is there, but the user QEMU runs as may not open it.`,
      // What udev does on most distributions; /dev/kvm has advice of its own.
      command: node.id === 'kvm' ? null : `${sudo}chgrp kvm ${path} && ${sudo}chmod 660 ${path}`,
    }
  })
}

function mayOpenOurselves(facts: { mode: number; uid: number; gid: number }): boolean {
  const uid = process.getuid?.() ?? 0
  if (uid === 0) return true
  return mayReadWrite(facts, { uid, gid: process.getgid?.() ?? 0, groups: process.getgroups?.() ?? [] })
}
