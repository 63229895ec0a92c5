/** Shared folders: what the definition alone can get wrong. Whether a directory may be shared is the engine's to check. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { shareDriver } from '../devices/shares.ts'
import type { CompileProblem, LaunchTools } from '../types.ts'
import { bad, claims, type NeededType, type SpecProblem } from './problem.ts'

export function checkShares(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const claimTag = claims<string>()
  spec.shares.forEach((share, n) => {
    const at = `shares.${n}`
    if (claimTag(share.tag, at) !== null)
      problems.push(bad(`${at}.tag`, `Two folders have the tag “${share.tag}”; the guest could not tell them apart.`))
    const parts = share.source.split('/')
    if (share.source === '/') problems.push(bad(`${at}.source`, 'The whole of the host cannot be shared.'))
    else if (share.source.endsWith('/'))
      problems.push(bad(`${at}.source`, 'Name the directory without a slash at its end.'))
    else if (parts.slice(1).some((part) => part === '' || part === '.' || part === '..'))
      problems.push(bad(`${at}.source`, 'Name the directory by its plain path, without “.”, “..” and doubled slashes.'))
  })
  return problems
}

export function shareTypes(spec: VmSpec): NeededType[] {
  return spec.shares.map((share, n) => [shareDriver(spec, share), `shares.${n}.driver`])
}

export function checkShareMemory(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const index = spec.shares.findIndex((share) => share.driver === 'virtiofs')
  return index >= 0 && !capabilities.features.memoryMemfd
    ? [bad(`shares.${index}.driver`, `virtiofs needs shared guest memory, which QEMU ${capabilities.version} lacks.`)]
    : []
}

export function checkShareTools(spec: VmSpec, tools: Pick<LaunchTools, 'virtiofsd'>): CompileProblem[] {
  const index = spec.shares.findIndex((share) => share.driver === 'virtiofs')
  return index >= 0 && tools.virtiofsd === null
    ? [
        {
          field: `shares.${index}.driver`,
          message:
            'virtiofsd, the daemon that serves virtiofs, is not installed on the host; install it or choose “9p”.',
        },
      ]
    : []
}
