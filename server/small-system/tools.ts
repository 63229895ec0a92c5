/** What of this host's software opens disks: libguestfs's programs, and what it makes its small system of. */
import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '#server/storage/sandbox.ts'

/** What the small system is made of. */
export interface SystemRecipe {
  readonly supermin: string
  /** What belongs into the small system, as libguestfs ships it. */
  readonly recipe: string
  readonly kernel: string
  readonly modules: string
  readonly kernelVersion: string
}
export interface CleanUpTools extends SystemRecipe {
  readonly sysprep: string
}
export interface FileTools extends SystemRecipe {
  readonly perl: string
}

export type Found<T> =
  | { readonly tools: T; readonly problem: null }
  /** `isMissing`: its package would bring it. `command` mends the rest, where one is sure to. */
  | { readonly tools: null; readonly isMissing: boolean; readonly problem: string; readonly command: string | null }

export interface ToolPlaces {
  /** As PATH has them. */
  readonly path?: string
  /** Root of the host's file system; another one only in tests. */
  readonly root?: string
}

/** Looked up anew each time: it costs a few looks into directories, and packages come and go. */
export function findCleanUpTools(places: ToolPlaces = {}): Found<CleanUpTools> {
  const sysprep = program('virt-sysprep', places)
  if (sysprep === null) return lacking('there is no virt-sysprep')
  const found = findRecipe(places)
  return found.tools === null ? found : { tools: { ...found.tools, sysprep }, problem: null }
}

/** What reads files: its binding for Perl, in which names and content need no quoting on their way. */
export function findFileTools(places: ToolPlaces = {}): Found<FileTools> {
  const { root = '/' } = places
  const perl = program('perl', places)
  if (perl === null || !hasBinding(root)) return lacking('there is no Sys::Guestfs for Perl')
  const found = findRecipe(places)
  return found.tools === null ? found : { tools: { ...found.tools, perl }, problem: null }
}

function findRecipe(places: ToolPlaces): Found<SystemRecipe> {
  const { root = '/' } = places
  const supermin = program('supermin', places)
  if (supermin === null) return lacking('there is no supermin')
  const recipe = recipeOf(root)
  if (recipe === null)
    return {
      ...{ tools: null, isMissing: true, command: null },
      problem: 'libguestfs is there without the recipe of its small system (guestfs/supermin.d).',
    }
  const kernels = kernelsOf(root)
  const readable = kernels.find(({ kernel }) => isReadable(kernel))
  if (readable !== undefined) return { tools: { supermin, recipe, ...readable }, problem: null }
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

const program = (name: string, { path = process.env.PATH ?? '', root = '/' }: ToolPlaces): string | null =>
  root === '/' ? findProgram(name, path) : inside(root, join('usr/bin', name))

const lacking = (what: string) =>
  ({ tools: null, isMissing: true, problem: `libguestfs is not installed (${what}).`, command: null }) as const

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
const libraryDirs = (root: string): string[] => [
  ...['usr/lib64', 'usr/lib'],
  ...names(join(root, 'usr/lib')).map((name) => join('usr/lib', name)),
]

function recipeOf(root: string): string | null {
  const dirs = libraryDirs(root)
  const found = dirs.map((dir) => join(root, dir, 'guestfs/supermin.d'))
  return found.find((dir) => names(dir).includes('packages')) ?? null
}

/** Perl's directories hold its version or who put it there: `perl5/5.36`, `perl5/vendor_perl`, `perl5/5.40/vendor_perl`. */
function hasBinding(root: string): boolean {
  return libraryDirs(root).some((dir) => {
    const perl = join(root, dir, 'perl5')
    const below = names(perl).map((name) => join(perl, name))
    const all = [perl, ...below, ...below.flatMap((one) => names(one).map((name) => join(one, name)))]
    return all.some((one) => isReadable(join(one, 'Sys/Guestfs.pm')))
  })
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
