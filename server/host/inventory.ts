/** What this host is and what it has. Parsing is pure; reading costs a few small files and one statfs. */
import { readFileSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import os from 'node:os'
import type { Capacity } from '#lib/schema/host.ts'
import { readCpu } from './cpu.ts'

export interface OsRelease {
  /** Lower case, such as `debian`; `linux` when nothing says. */
  readonly id: string
  /** Ids of the distributions it descends from. */
  readonly like: readonly string[]
  readonly prettyName: string
}

/** os-release(5); assignments with or without quotes, shell escapes undone. */
export function parseOsRelease(text: string): OsRelease {
  const fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^([A-Z_0-9]+)=(.*)$/.exec(line.trim())
    if (match?.[1] !== undefined && match[2] !== undefined) fields.set(match[1], unquote(match[2]))
  }
  return {
    id: fields.get('ID') ?? 'linux',
    like: (fields.get('ID_LIKE') ?? '').split(/\s+/).filter((word) => word !== ''),
    prettyName: fields.get('PRETTY_NAME') ?? fields.get('NAME') ?? 'Linux',
  }
}

function unquote(value: string): string {
  const inner = /^(["'])(.*)\1$/.exec(value)?.[2] ?? value
  return inner.replace(/\\(.)/g, '$1')
}

export interface MemoryFacts {
  readonly totalMiB: number
  /** What new work can take without swapping, by the kernel's estimate. */
  readonly availableMiB: number
}

/** /proc/meminfo, whose "kB" are KiB (proc(5)). */
export function parseMeminfo(text: string): MemoryFacts {
  const mib = (name: string) =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) / 1024)
  return { totalMiB: mib('MemTotal'), availableMiB: mib('MemAvailable') }
}

export interface Inventory {
  readonly hostname: string
  readonly os: OsRelease
  readonly kernel: string
  readonly uptimeSeconds: number
  readonly cpu: Omit<Capacity['cpus'], 'promised'>
  readonly memory: MemoryFacts
  readonly disk: { readonly totalBytes: number; readonly freeBytes: number }
}

/** @param dataDir directory whose file system counts as the disk */
export async function readInventory(dataDir: string): Promise<Inventory> {
  const cpu = readCpu(readText('/proc/cpuinfo'))
  return {
    hostname: os.hostname(),
    os: readOsRelease(),
    kernel: os.release(),
    uptimeSeconds: Math.floor(os.uptime()),
    cpu: {
      total: os.availableParallelism(),
      model: cpu.model === '' ? (os.cpus()[0]?.model ?? 'unknown') : cpu.model,
      // The load of the last minute; 1.0 is one busy processor.
      load: os.loadavg()[0] ?? 0,
    },
    memory: parseMeminfo(readText('/proc/meminfo')),
    disk: await readDisk(dataDir),
  }
}

/** Of this host. */
export function readOsRelease(): OsRelease {
  return parseOsRelease(readText('/etc/os-release') || readText('/usr/lib/os-release'))
}

/** Free as an ordinary user sees it, without what the file system keeps for root. */
async function readDisk(dataDir: string): Promise<Inventory['disk']> {
  try {
    const facts = await statfs(dataDir)
    return { totalBytes: facts.blocks * facts.bsize, freeBytes: facts.bavail * facts.bsize }
  } catch {
    return { totalBytes: 0, freeBytes: 0 }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
