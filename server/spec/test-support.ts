/** What the tests of the compiler share: captured QEMUs and a host to compile for. Imported by tests only. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import type { CompileInput, NormalizeFacts } from './types.ts'

export const VM_ID = '01890000-0000-7000-8000-000000000001'
export const ISO_ID = '01890000-0000-7000-8000-00000000a150'
export const DISK_ID = '01890000-0000-7000-8000-00000000d15c'

const fixtureDir = fileURLToPath(new URL('../capabilities/__fixtures__/', import.meta.url))

/** Captured capabilities by `major.minor`, oldest first. */
export function capturedCapabilities(): ReadonlyMap<string, QemuCapabilities> {
  const found = new Map<string, QemuCapabilities>()
  for (const file of readdirSync(fixtureDir).sort()) {
    const version = /^qemu-(\d+\.\d+).*\.json$/.exec(file)?.[1]
    if (version !== undefined) found.set(version, JSON.parse(readFileSync(`${fixtureDir}${file}`, 'utf8')))
  }
  return new Map([...found].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true })))
}

export function capabilitiesOf(version: string): QemuCapabilities {
  const found = capturedCapabilities().get(version)
  if (found === undefined) throw new Error(`no captured capabilities of QEMU ${version}`)
  return found
}

/** Facts with one ISO (40 MB, Linux) and one disk image (3 GiB), and addresses that count up. */
export function factsFor(capabilities: QemuCapabilities): NormalizeFacts {
  let next = 0
  return {
    capabilities,
    images: new Map([
      [ISO_ID, { kind: 'iso' as const, virtualSizeBytes: 40_000_000, guest: 'linux' as const }],
      [DISK_ID, { kind: 'disk' as const, virtualSizeBytes: 3 * 1024 ** 3, guest: null }],
    ]),
    nextMac: () => {
      next += 1
      return `52:54:00:00:00:${next.toString(16).padStart(2, '0')}`
    },
  }
}

export interface HostOptions {
  readonly runDir?: string
  readonly dataDir?: string
  readonly accelerator?: 'kvm' | 'tcg'
  readonly user?: CompileInput['user']
  readonly host?: Partial<CompileInput['host']>
}

/** Everything of a launch but the spec, on a made-up host. */
export function compileInput(spec: VmSpec, capabilities: QemuCapabilities, options: HostOptions = {}): CompileInput {
  const run = `${options.runDir ?? '/run/guestdeck'}/${VM_ID}`
  const data = options.dataDir ?? '/var/lib/guestdeck'
  const kind = options.accelerator ?? 'tcg'
  return {
    vmId: VM_ID,
    spec,
    capabilities,
    accelerator: { kind, reason: kind === 'kvm' ? 'Guest code ran under KVM on this host.' : 'This host has no KVM.' },
    paths: {
      dir: run,
      data: `${data}/vms/${VM_ID}`,
      pidfile: `${run}/pid`,
      qmp: `${run}/qmp.sock`,
      qmpRescue: `${run}/qmp2.sock`,
      vnc: `${run}/vnc.sock`,
      serial: `${run}/ser.sock`,
      agent: `${run}/qga.sock`,
      nvram: `${data}/vms/${VM_ID}/nvram.qcow2`,
    },
    drives: spec.disks.map((drive) => {
      const image = drive.image === null ? [] : [drive.image]
      if (drive.device === 'cdrom')
        return {
          id: drive.id,
          chain: [
            ...image.map((id) => `${data}/images/${id}`),
            ...(drive.seed === null ? [] : [`${data}/vms/${VM_ID}/seed-${drive.seed}.iso`]),
          ].map((path) => ({ path, format: 'raw' as const, readOnly: true })),
        }
      if (drive.shared)
        return {
          id: drive.id,
          chain: [{ path: `${data}/shared/${drive.serial}.raw`, format: 'raw' as const, readOnly: false }],
        }
      return {
        id: drive.id,
        chain: [
          { path: `${data}/vms/${VM_ID}/${drive.id}.qcow2`, format: 'qcow2' as const, readOnly: false },
          ...image.map((id) => ({ path: `${data}/images/${id}`, format: 'qcow2' as const, readOnly: true })),
        ],
      }
    }),
    user: options.user === undefined ? { uid: 64055, gid: 64055, groups: [103] } : options.user,
    tools: {
      setpriv: '/usr/bin/setpriv',
      prlimit: '/usr/bin/prlimit',
      swtpm: '/usr/bin/swtpm',
      virtiofsd: { path: '/usr/libexec/virtiofsd', dialect: 'rust' },
    },
    startSeconds: 1_750_000_000,
    host: {
      vhostNet: true,
      vhostVsock: true,
      cpus: Array.from({ length: 16 }, (_, cpu) => cpu),
      memoryNodes: [0, 1],
      hugePages: { '2M': { total: 8192, free: 8192 }, '1G': null },
      utcOffsetSeconds: 7200,
      ...options.host,
    },
  }
}
