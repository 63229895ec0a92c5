/** The exact QEMU command line, explained option by option. */
import * as z from 'zod'
import { VmAccelerator } from './vm-state.ts'

export const CommandOption = z
  .strictObject({
    /** The argv elements of this option, in order, for example `["-device", "{…}"]`. */
    argv: z.array(z.string()),
    /** Heading it belongs under: `process`, `machine`, `cpu`, `memory`, `firmware`, `disk0`, `net0` … */
    group: z.string(),
    /** One sentence: what the option does. */
    what: z.string(),
    /** One sentence: why it is there. */
    why: z.string(),
    origin: z.enum(['default', 'choice', 'security', 'plumbing']),
    /** JSON pointer of the spec field that changes it; null when no field does. */
    field: z.string().nullable(),
    /** True when it differs from what the running guest was started with. */
    changed: z.boolean(),
  })
  .meta({ id: 'CommandOption' })
export type CommandOption = z.output<typeof CommandOption>

export const CommandLine = z
  .strictObject({
    binary: z.string(),
    qemuVersion: z.string(),
    /** Programs that run before QEMU in the same process (umask, uid, limits), outermost first. */
    wrapper: z.array(CommandOption),
    options: z.array(CommandOption),
    /** The whole thing as one POSIX shell command, quoted, one option a line. */
    shell: z.string(),
    /** `running`: what runs now was started with it; `next`: the next start would use it. */
    applies: z.enum(['running', 'next']),
    accelerator: VmAccelerator,
    warnings: z.array(z.string()),
  })
  .meta({ id: 'CommandLine' })
export type CommandLine = z.output<typeof CommandLine>
