/** The host's own hardware, gathered from /sys and /proc. Some milliseconds per hundred devices; nothing is kept. */
import { setImmediate as breathe } from 'node:timers/promises'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { ChildUser } from '#server/platform/child.ts'
import { startedAsRoot } from '#server/platform/privileges.ts'
import { readInterfaces } from './interfaces.ts'
import { readIommu } from './iommu.ts'
import { readKernelDevices } from './kernel.ts'
import { readCpus, readHugePages, readNuma } from './memory.ts'
import { readMdev, readPci } from './pci.ts'
import { Tree } from './tree.ts'
import { readUsb } from './usb.ts'
import { readUses } from './uses.ts'

export interface ListOptions {
  /** User QEMU runs as; null when it shares ours. */
  readonly user: ChildUser | null
  /** Whether the asker may see how the host is laid out: mount points and hardware addresses. */
  readonly details: boolean
  /** Directory that stands for `/`. */
  readonly root?: string
  readonly isRoot?: boolean
}

/** Never throws: what cannot be read is left out. */
export async function listHostDevices(options: ListOptions): Promise<HostDevices> {
  const tree = new Tree(options.root)
  const isRoot = options.isRoot ?? startedAsRoot
  const iommu = readIommu(tree)
  const uses = readUses(tree, options.details)
  // sysfs answers at once, but a large server has thousands of these files: others are let through in between.
  await breathe()
  const pci = await readPci(tree, iommu, uses)
  await breathe()
  const usb = await readUsb(tree, uses)
  await breathe()
  return {
    iommu,
    pci,
    usb,
    mdev: readMdev(tree),
    hugePages: readHugePages(tree),
    numa: readNuma(tree),
    cpus: readCpus(tree),
    kernel: readKernelDevices(tree, options.user, isRoot),
    interfaces: readInterfaces(tree).map((card) => (options.details ? card : { ...card, mac: null })),
  }
}
