/** What of this host's software cleans up disks: virt-sysprep, and what libguestfs makes its small system of. */
import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '#server/storage/sandbox.ts'

export interface CleanUpTools {
  readonly sysprep: string
  readonly supermin: string
  /** What belongs into the small system, as libguestfs ships it. */
  readonly recipe: string
  readonly kernel: string
  readonly modules: string
  readonly kernelVersion: string
}

export type FoundTools =
  | { readonly tools: CleanUpTools; readonly problem: null }
  /** `isMissing`: its package would bring it. `command` mends the rest, where one is sure to. */
  | { readonly tools: null; readonly isMissing: boolean; readonly problem: string; readonly command: string | null }

export interface ToolPlaces {
  /** As PATH has them. */
  readonly path?: string
  /** Root of the host's file system; another one only in tests. */
  readonly root?: string
}

/** Looked up anew each time: it costs a few looks into directories, and packages come and go. */
export function findCleanUpTools({ path = process.env.PATH ?? '', root = '/' }: ToolPlaces = {}): FoundTools {
  const sysprep = root === '/' ? findProgram('virt-sysprep', path) : inside(root, 'usr/bin/virt-sysprep')
  const supermin = root === '/' ? findProgram('supermin', path) : inside(root, 'usr/bin/supermin')
  if (sysprep === null || supermin === null) {
    const name = sysprep === null ? 'virt-sysprep' : 'supermin'
    return {
      tools: null,
      isMissing: true,
      problem: `libguestfs is not installed (there is no ${name}).`,
      command: null,
    }
  }
  const recipe = recipeOf(root)
  if (recipe === null)
    return {
      ...{ tools: null, isMissing: true, command: null },
      problem: 'libguestfs is there without the recipe of its small system (guestfs/supermin.d).',
    }
  const kernels = kernelsOf(root)
  const readable = kernels.find(({ kernel }) => isReadable(kernel))
  if (readable !== undefined) return { tools: { sysprep, supermin, recipe, ...readable }, problem: null }
  const [closed] = kernels
  return closed === undefined
    ? {
        ...{ tools: null, isMissing: false, command: null },
        problem: 'libguestfs needs a kernel with its modules on this host, in /boot or /lib/modules; there is none.',
      }
    : {
        ...{ tools: null, isMissing: false, command: `chmod 0644 ${closed.kernel}` },
        problem: `libguestfs needs to read the kernel ${closed.kernel}, which is for root alone.`,
      }
}

const isReadable = (path: string): boolean => {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}
const inside = (root: string, path: string): string | null => (isReadable(join(root, path)) ? join(root, path) : null)

function names(dir: string): string[] {
  try {
    return readdirSync(dir).sort()
  } catch {
    return []
  }
}

/** Debian keeps it below the name of the machine. */
function recipeOf(root: string): string | null {
  const dirs = ['usr/lib64', 'usr/lib', ...names(join(root, 'usr/lib')).map((name) => join('usr/lib', name))]
  const found = dirs.map((dir) => join(root, dir, 'guestfs/supermin.d'))
  return found.find((dir) => names(dir).includes('packages')) ?? null
}

/** Kernels that have their modules, newest file first: that is the one a package has just brought. */
function kernelsOf(root: string): { kernel: string; modules: string; kernelVersion: string }[] {
  const found = names(join(root, 'lib/modules')).flatMap((kernelVersion) => {
    const modules = join(root, 'lib/modules', kernelVersion)
    const kernel = [join(root, 'boot', `vmlinuz-${kernelVersion}`), join(modules, 'vmlinuz')].find(
      (path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true,
    )
    return kernel === undefined || !names(modules).includes('modules.dep') ? [] : [{ kernel, modules, kernelVersion }]
  })
  return found.sort((a, b) => statSync(b.kernel).mtimeMs - statSync(a.kernel).mtimeMs)
}
