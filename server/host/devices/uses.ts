/** What the host itself does with a device: network interfaces that are up, disks that are mounted. */
import { readInterfaces } from './interfaces.ts'
import type { Tree } from './tree.ts'

/** One use, and the place in sysfs it hangs on. */
export interface Use {
  readonly realPath: string
  readonly text: string
}

/** @param withPlaces whether mount points are named: they tell how the host is laid out */
export function readUses(tree: Tree, withPlaces: boolean): Use[] {
  return [...networkUses(tree), ...diskUses(tree, withPlaces)]
}

/** Those of a device and of everything below it. */
export function usesBelow(uses: readonly Use[], realPath: string | null): string[] {
  if (realPath === null) return []
  return uses.filter((use) => use.realPath.startsWith(`${realPath}/`)).map((use) => use.text)
}

function networkUses(tree: Tree): Use[] {
  return readInterfaces(tree)
    .filter((card) => card.kind === 'physical' && card.up)
    .flatMap(({ name, master }) => {
      const realPath = tree.real(`sys/class/net/${name}`)
      const detail = master === null ? 'up' : `up, in ${master}`
      return realPath === null ? [] : [{ realPath, text: `${name} (${detail})` }]
    })
}

function diskUses(tree: Tree, withPlaces: boolean): Use[] {
  const held = readHeld(tree, withPlaces)
  return tree.list('sys/class/block').flatMap((name) => {
    const purpose = purposeOf(tree, name, held)
    const realPath = tree.real(`sys/class/block/${name}`)
    return purpose === null || realPath === null ? [] : [{ realPath, text: `${name} (${purpose})` }]
  })
}

/** Kernel name of a block device → what it is mounted at or used as. */
function readHeld(tree: Tree, withPlaces: boolean): ReadonlyMap<string, string> {
  const mapped = new Map<string, string>()
  for (const name of tree.list('sys/class/block')) {
    const alias = tree.text(`sys/class/block/${name}/dm/name`)
    if (alias !== null) mapped.set(`mapper/${alias}`, name)
  }
  const held = new Map<string, string>()
  const hold = (device: string | undefined, purpose: string) => {
    if (device?.startsWith('/dev/') !== true) return
    const name = mapped.get(device.slice(5)) ?? device.slice(5)
    if (!held.has(name)) held.set(name, purpose)
  }
  for (const line of (tree.text('proc/self/mounts') ?? '').split('\n')) {
    const [device, where] = line.split(' ')
    // Spaces and the like are octal there (fstab(5)).
    const place = (where ?? '').replace(/\\([0-7]{3})/g, (_all, code: string) => String.fromCharCode(parseInt(code, 8)))
    hold(device, withPlaces ? `mounted at ${place}` : 'mounted')
  }
  for (const line of (tree.text('proc/swaps') ?? '').split('\n').slice(1)) hold(line.split(/\s/)[0], 'swap space')
  return held
}

/** Of the device itself or of what is built on it (LVM, RAID, encryption). */
function purposeOf(tree: Tree, name: string, held: ReadonlyMap<string, string>, depth = 0): string | null {
  const own = held.get(name)
  if (own !== undefined) return own
  // Layers are a handful; a loop would be a broken sysfs.
  if (depth > 8) return null
  for (const holder of tree.list(`sys/class/block/${name}/holders`)) {
    const purpose = purposeOf(tree, holder, held, depth + 1)
    if (purpose !== null) return purpose
  }
  return null
}
