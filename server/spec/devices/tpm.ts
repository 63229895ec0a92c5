/** TPM 2.0 by swtpm. Sources: QEMU docs `specs/tpm`, swtpm(8), swtpm_ioctls(3). */
import { QEMU_IDS } from '../ids.ts'
import { escapeCommas, jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedHelper, PlannedOption } from '../types.ts'

const TPM_STATE_DIR = 'tpm'

const socketOf = ({ paths }: CompileInput): string => `${paths.dir}/tpm.sock`

export function tpmOptions(input: CompileInput): PlannedOption[] {
  const { spec } = input
  if (spec.tpm === 'none') return []
  const group = 'tpm'
  const field = '/tpm'
  return [
    // The other way round than every other socket: swtpm listens, QEMU connects.
    option(['-chardev', `socket,id=${QEMU_IDS.tpmChardev},path=${escapeCommas(socketOf(input))}`], {
      group,
      what: 'The line to swtpm, the program that plays the chip.',
      why: 'A process of its own: what it keeps secret is not in the memory of QEMU.',
      origin: 'plumbing',
      field,
    }),
    option(['-tpmdev', `emulator,id=${QEMU_IDS.tpmBackend},chardev=${QEMU_IDS.tpmChardev}`], {
      group,
      what: 'Passes what the guest asks the chip on to swtpm.',
      why: "QEMU's own part of the TPM is only the socket the chip sits in.",
      origin: 'plumbing',
      field,
    }),
    jsonOption(
      '-device',
      { driver: spec.tpm, id: QEMU_IDS.tpm, tpmdev: QEMU_IDS.tpmBackend },
      {
        group,
        what:
          spec.tpm === 'tpm-crb'
            ? 'A TPM 2.0 chip with the command/response buffer interface.'
            : 'A TPM 2.0 chip with the older FIFO interface (TIS).',
        why: 'Windows 11 refuses to install without one; Linux can bind the key of an encrypted disk to it.',
        origin: 'choice',
        field,
      },
    ),
  ]
}

/** swtpm, or none. It ends when QEMU closes the line (`--terminate`). */
export function tpmHelpers(input: CompileInput): PlannedHelper[] {
  const { spec, paths, tools, user } = input
  if (spec.tpm === 'none' || tools.swtpm === null) return []
  const state = `${paths.data}/${TPM_STATE_DIR}`
  const socket = socketOf(input)
  // Where guests have users of their own, the dashboard reads the state by its group.
  const mode = user === null ? '0600' : '0660'
  return [
    {
      id: QEMU_IDS.tpm,
      kind: 'swtpm',
      option: option(
        [
          tools.swtpm,
          'socket',
          '--tpm2',
          ...['--tpmstate', `dir=${state},mode=${mode}`],
          ...['--ctrl', `type=unixio,path=${socket},mode=0600`],
          '--terminate',
        ],
        {
          group: 'tpm',
          what: "Plays the TPM 2.0 chip; its keys lie in the VM's own directory.",
          why: 'Started before QEMU and ended with it, under the same user without privileges.',
          origin: 'choice',
          field: '/tpm',
        },
      ),
      socket,
      dirs: [state],
    },
  ]
}
