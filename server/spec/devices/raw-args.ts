/** Options given as they are: last, so that they stand out, and judged by `check/raw-args.ts` before. */
import { readRawArgs } from '../check/raw-args.ts'
import { option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export function rawOptions({ spec }: Pick<CompileInput, 'spec'>): PlannedOption[] {
  return (readRawArgs(spec.rawArgs) ?? []).map(({ name, value, index }) =>
    option(value === null ? [name] : [name, value], {
      group: 'raw',
      what: 'A raw option, passed on to QEMU as an administrator wrote it.',
      why: 'The dashboard has checked that it stays within the guest, but does not know what it does.',
      origin: 'choice',
      field: `/rawArgs/${index}`,
    }),
  )
}
