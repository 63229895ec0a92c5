/** How much disks take, now and at worst. Pure. */
import type { LayerDocument, VolumeDocument } from './volume-documents.ts'

export interface SumFacts {
  readonly volumes: readonly VolumeDocument[]
  readonly layers: ReadonlyMap<string, LayerDocument>
  /** On disk; null: not known. */
  allocated(layerId: string): number | null
  /** Whether snapshots lie inside this file. */
  holdsSnapshots(layerId: string): boolean
}

/** qcow2's tables for a file that is written to its end: 8 bytes of mapping and 2 of counting for each 64 KiB. */
const QCOW2_FIXED = 5 * 65_536
export const worstCaseOfFile = (sizeBytes: number, format: 'qcow2' | 'raw'): number =>
  format === 'raw' ? sizeBytes : Math.ceil(sizeBytes * (1 + 10 / 65_536)) + QCOW2_FIXED

export interface HeadFacts {
  readonly sizeBytes: number
  readonly format: 'qcow2' | 'raw'
  /** Null: not known, as if it were empty. */
  readonly allocatedBytes: number | null
  /** Snapshots inside the file keep what it holds: everything may be written once more beside it. */
  readonly holdsSnapshots: boolean
}

/** What the file that is written may still take. */
export function growthOfHead({ sizeBytes, format, allocatedBytes, holdsSnapshots }: HeadFacts): number {
  const whole = worstCaseOfFile(sizeBytes, format)
  return holdsSnapshots ? whole : Math.max(0, whole - (allocatedBytes ?? 0))
}

/** Ids from the head down; cycles and gaps end it. */
export function layersOf(head: string, layers: ReadonlyMap<string, LayerDocument>): string[] {
  const found: string[] = []
  for (let id: string | null = head; id !== null && !found.includes(id); ) {
    const layer = layers.get(id)
    if (layer === undefined) break
    found.push(id)
    id = layer.parent !== null && 'layer' in layer.parent ? layer.parent.layer : null
  }
  return found
}

export interface VolumeSums {
  /** Of files that this volume alone has; null when one of them is not known. */
  readonly allocatedBytes: number | null
  readonly worstCaseBytes: number
  /** What the file that is written may still take. */
  readonly growthBytes: number
  readonly layers: number
}

/** For each volume. What several stand on counts for none of them, only for the pool. */
export function sumVolumes({ volumes, layers, allocated, holdsSnapshots }: SumFacts): Map<string, VolumeSums> {
  const users = new Map<string, number>()
  const chains = new Map(volumes.map((volume) => [volume.id, layersOf(volume.head, layers)]))
  for (const chain of chains.values()) for (const id of chain) users.set(id, (users.get(id) ?? 0) + 1)
  const sums = new Map<string, VolumeSums>()
  for (const volume of volumes) {
    const chain = chains.get(volume.id) ?? []
    let allocatedBytes: number | null = 0
    let worstCaseBytes = 0
    let growthBytes = 0
    for (const id of chain) {
      const bytes = allocated(id)
      if (id === volume.head) {
        growthBytes = growthOfHead({
          ...{ sizeBytes: volume.sizeBytes, format: layers.get(id)?.format ?? 'qcow2', allocatedBytes: bytes },
          holdsSnapshots: holdsSnapshots(id),
        })
        worstCaseBytes += (bytes ?? 0) + growthBytes
      } else if (users.get(id) === 1) worstCaseBytes += bytes ?? 0
      if (users.get(id) !== 1) continue
      allocatedBytes = allocatedBytes === null || bytes === null ? null : allocatedBytes + bytes
    }
    sums.set(volume.id, { allocatedBytes, worstCaseBytes, growthBytes, layers: chain.length })
  }
  return sums
}
