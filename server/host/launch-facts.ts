/** What of this host a launch depends on, read anew each time: a few small files of sysfs. */
import { existsSync, readFileSync } from 'node:fs'
import { parseCpuList, readOnlineCpus } from '#server/platform/cpus.ts'
import type { LaunchHost } from '#server/spec/types.ts'

const HUGE_PAGES = '/sys/kernel/mm/hugepages'

/** Facts the kernel does not tell are left out. */
export function readLaunchHost(): LaunchHost {
  const cpus = readOnlineCpus()
  const nodes = readText('/sys/devices/system/node/has_memory')
  return {
    vhostNet: existsSync('/dev/vhost-net'),
    vhostVsock: existsSync('/dev/vhost-vsock'),
    ...(cpus === null ? {} : { cpus }),
    ...(nodes === null ? {} : { memoryNodes: parseCpuList(nodes) }),
    ...(existsSync(HUGE_PAGES) ? { hugePages: { '2M': poolOf(2048), '1G': poolOf(1_048_576) } } : {}),
    utcOffsetSeconds: -new Date().getTimezoneOffset() * 60,
  }
}

function poolOf(pageKiB: number): { total: number; free: number } | null {
  const dir = `${HUGE_PAGES}/hugepages-${pageKiB}kB`
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
