/** What of this host a launch depends on, read anew each time: a few small files of sysfs. */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { parseCpuList, readOnlineCpus } from '#server/platform/cpus.ts'
import type { LaunchHost, LaunchUser } from '#server/spec/types.ts'

const HUGE_PAGES = '/sys/kernel/mm/hugepages'

/**
 * Facts the kernel does not tell are left out.
 * @param user whom QEMU runs as; null: the dashboard's own
 */
export function readLaunchHost(user: LaunchUser | null): LaunchHost {
  const cpus = readOnlineCpus()
  const nodes = readText('/sys/devices/system/node/has_memory')
  return {
    // QEMU 7.2 aborts when it may not open what it was told to use.
    vhostNet: mayOpen('/dev/vhost-net', user),
    vhostVsock: existsSync('/dev/vhost-vsock'),
    ...(cpus === null ? {} : { cpus }),
    ...(nodes === null ? {} : { memoryNodes: parseCpuList(nodes) }),
    ...(existsSync(HUGE_PAGES) ? { hugePages: { '2M': poolOf(2048), '1G': poolOf(1_048_576) } } : {}),
    utcOffsetSeconds: -new Date().getTimezoneOffset() * 60,
  }
}

/** Whether QEMU's user may read and write a device; it has no capabilities, so the mode decides. */
export function mayOpen(path: string, user: LaunchUser | null): boolean {
  try {
    if (user === null) {
      accessSync(path, constants.R_OK | constants.W_OK)
      return true
    }
    const { mode, uid, gid } = statSync(path)
    const shift = uid === user.uid ? 6 : gid === user.gid || user.groups.includes(gid) ? 3 : 0
    return ((mode >> shift) & 0o6) === 0o6
  } catch {
    return false
  }
}

function poolOf(pageKiB: number): { total: number; free: number } | null {
  const dir = `${HUGE_PAGES}/hugepages-${pageKiB}kB`
  if (!existsSync(dir)) return null
  const total = readText(`${dir}/nr_hugepages`)
  const free = readText(`${dir}/free_hugepages`)
  return total === null || free === null ? null : { total: Number(total), free: Number(free) }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return null
  }
}
