/** Looks for the programs and files of the readiness list. Spawns a version query for each: for the host page, not for a hot path. */
import { findUefiFirmware, KNOWN_FIRMWARE } from '#server/capabilities/firmware.ts'
import { findHostTools } from '#server/capabilities/host-tools.ts'
import type { HostTool, QemuCapabilities } from '#server/capabilities/types.ts'
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import { fileFacts } from '#server/platform/fs.ts'
import { findCleanUpTools, findFileTools } from '#server/small-system/tools.ts'
import type { Finding, ReadinessFacts } from './readiness.ts'

const VERSION_TIMEOUT_MS = 3_000

export type Findings = Omit<ReadinessFacts, 'manager' | 'isRoot' | 'verdict' | 'kernel' | 'iommu'>

/** @param capabilities null when QEMU is missing or broken; `qemuError` then says which and why */
export async function lookAround(
  capabilities: QemuCapabilities | null,
  qemuError: { readonly missing: boolean; readonly message: string } | null,
): Promise<Findings> {
  const [qemuImg, swtpm, bubblewrap, unshare, setpriv, prlimit, bundledFirmware, tools] = await Promise.all([
    findProgram('qemu-img', ['--version']),
    findProgram('swtpm', ['--version']),
    findProgram('bwrap', ['--version']),
    findProgram('unshare', ['--version']),
    findProgram('setpriv', ['--version']),
    findProgram('prlimit', ['--version']),
    findBundledFirmware(),
    // Anew, not as the capabilities have them: this is looked at after something was installed.
    findHostTools(),
  ])
  return {
    qemu: describeQemu(capabilities, qemuError),
    qemuImg,
    swtpm,
    bubblewrap,
    unshare,
    setpriv,
    prlimit,
    virtiofsd: describeTool(tools.virtiofsd, 'virtiofsd'),
    ip: describeTool(tools.ip, 'ip'),
    guestfs: await describeGuestfs(),
    ovmf: describeOvmf(capabilities),
    bundledFirmware,
  }
}

function describeQemu(
  capabilities: QemuCapabilities | null,
  error: { readonly missing: boolean; readonly message: string } | null,
): Finding {
  if (capabilities !== null) {
    return { state: 'ok', version: capabilities.version, detail: capabilities.package || 'Answers over QMP.' }
  }
  return { state: error?.missing === false ? 'broken' : 'missing', detail: error?.message ?? 'Not found.' }
}

function describeTool(tool: HostTool | null, name: string): Finding {
  if (tool === null) return { state: 'missing', detail: `There is no program ${name}.` }
  return { state: 'ok', version: tool.version, detail: tool.path }
}

async function describeGuestfs(): Promise<ReadinessFacts['guestfs']> {
  const cleanUp = findCleanUpTools()
  const found = cleanUp.tools === null ? cleanUp : findFileTools()
  if (found.tools === null)
    return { state: found.isMissing ? 'missing' : 'broken', detail: found.problem, command: found.command }
  return findProgram('virt-sysprep', ['--version'])
}

function describeOvmf(capabilities: QemuCapabilities | null): Finding {
  const uefi = capabilities?.uefi ?? findUefiFirmware()
  if (uefi === null) return { state: 'missing', detail: 'No UEFI firmware was found; guests start by BIOS.' }
  if (isBundled(uefi.code)) return { state: 'missing', detail: "Not needed: QEMU's own build is used." }
  return { state: 'ok', version: null, detail: 'Code and variable store were found.' }
}

/** What `make install` of QEMU puts beside its BIOS files. */
function isBundled(code: string): boolean {
  return code.endsWith('/qemu/edk2-x86_64-code.fd')
}

async function findBundledFirmware(): Promise<Finding> {
  for (const { code, vars } of KNOWN_FIRMWARE) {
    if (!isBundled(code)) continue
    if ((await fileFacts(code)) !== null && (await fileFacts(vars)) !== null) {
      return { state: 'ok', version: null, detail: 'Code and variable store were found.' }
    }
  }
  return { state: 'missing', detail: 'This QEMU does not carry it; most distributions package it apart.' }
}

async function findProgram(name: string, versionArgs: readonly string[]): Promise<Finding> {
  const path = findExecutable(name)
  if (path === null) return { state: 'missing', detail: `There is no program ${name}.` }
  const output = await captureOutput(path, versionArgs, { timeoutMs: VERSION_TIMEOUT_MS })
  if (output === null || output.code !== 0) {
    const how =
      output === null
        ? 'it cannot be started'
        : output.signal === null
          ? `exit status ${output.code}`
          : `signal ${output.signal}`
    return { state: 'broken', detail: `${name} is there but does not tell its version (${how}).` }
  }
  const line = (output.stdout || output.stderr).split('\n')[0]?.trim() ?? ''
  return { state: 'ok', version: /\d+(\.\d+)+/.exec(line)?.[0] ?? null, detail: line }
}
