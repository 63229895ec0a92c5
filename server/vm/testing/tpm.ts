/** A launch with a TPM, for tests: swtpm as the product plans it, its state beside the lab's run directory. */
import { join } from 'node:path'
import { vmRunPaths } from '#server/paths.ts'
import type { PreparedLaunch } from '../types.ts'
import { type Lab, option } from './lab.ts'

export const tpmState = (lab: Lab, vmId: string): string => join(lab.dir, `${vmId}.tpm`)

/** @param program instead of swtpm */
export function withTpm(prepared: PreparedLaunch, lab: Lab, program = '/usr/bin/swtpm'): PreparedLaunch {
  const socket = join(vmRunPaths(lab.runDir, prepared.vmId).dir, 'tpm.sock')
  const state = tpmState(lab, prepared.vmId)
  const swtpm = [
    ...[program, 'socket', '--tpm2', '--tpmstate', `dir=${state},mode=0600`],
    ...['--ctrl', `type=unixio,path=${socket},mode=0600`, '--terminate'],
  ]
  const qemu = [
    ...['-chardev', `socket,id=tpm0.sock,path=${socket}`, '-tpmdev', 'emulator,id=tpm0.emu,chardev=tpm0.sock'],
    ...['-device', '{"driver":"tpm-crb","id":"tpm0","tpmdev":"tpm0.emu"}'],
  ]
  return {
    ...prepared,
    plan: {
      ...prepared.plan,
      options: [...prepared.plan.options, option(qemu)],
      helpers: [{ id: 'tpm0', kind: 'swtpm', option: option(swtpm), socket, dirs: [state] }],
    },
  }
}
