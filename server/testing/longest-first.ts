/**
 * For the whole run: files that take long begin first, so that none is left alone at the end while the other processor
 * has nothing to do. Vitest orders by what it remembers of an earlier run, which a clean clone has not got.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** About half of the time, longest first: taken from a whole run, and worth a look when one has become slow. */
const LONGEST = [
  'server/engine/seed-guest',
  'server/engine/version-matrix',
  'scripts/package/package',
  'server/spec/drives-networks',
  'server/spec/bus',
  'server/spec/machine',
  'server/engine/snapshots',
  'server/engine/snapshots-firmware',
  'server/snapshot-kill-disk',
  'server/snapshot-kill-memory',
  'server/image-kill',
  'server/restore-kill',
  'server/backup-kill',
  'server/clone-clean-up',
  'server/engine/files-by-libguestfs',
  'server/engine/live',
  'server/move-kill',
  'server/main',
  'server/engine/virtio-assistant',
  'server/engine/backups',
  'server/http/hostile-input',
  'server/spec/random-specs',
  'server/engine/backup-faults',
  'server/http/matrix',
  'e2e/guests/guests',
  'server/engine/room',
].map((name) => `/${name}.int.test.ts`)

function placeOf({ moduleId }: TestSpecification): number {
  const place = LONGEST.findIndex((name) => moduleId.endsWith(name))
  return place < 0 ? LONGEST.length : place
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b))
  }
}
