/** What is worth saying about drives before a start. */
import type { CompileInput } from '../types.ts'

export function driveWarnings({ spec }: CompileInput): string[] {
  const warnings: string[] = []
  for (const drive of spec.disks) {
    if (drive.device !== 'disk') continue
    if (drive.cache === 'unsafe')
      warnings.push(
        `The cache of ${drive.id} is “unsafe”: a crash or power cut of the host may ruin the disk beyond repair.`,
      )
    if (drive.werror === 'ignore')
      warnings.push(`${drive.id} ignores write errors: when the host is full its data is lost without a word.`)
  }
  const spare = new Set(spec.disks.filter((drive) => drive.device === 'disk').map((drive) => drive.bus))
  if (spec.guest === 'windows' && (spare.has('virtio-blk') || spare.has('virtio-scsi')))
    warnings.push(
      'Windows has no virtio drivers of its own: attach the virtio-win ISO as a second CD and load the drivers while installing.',
    )
  return warnings
}
