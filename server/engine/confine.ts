/** Whether QEMU is locked in by bubblewrap on this host, and what it then sees besides its own directory and drives. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { BACKUPS_DIR } from '#server/backup/layout.ts'
import type { Config } from '#server/config.ts'
import type { DataPaths } from '#server/paths.ts'
import type { Confinement } from '#server/spec/types.ts'
import { LOCAL_POOL_ID, type Pools } from '#server/storage/pools.ts'
import { findProgram, type ToolSandbox } from '#server/storage/sandbox.ts'
import type { Volumes } from '#server/storage/volume-types.ts'

export interface ConfineDeps {
  readonly config: Pick<Config, 'confine' | 'imageDirs'>
  readonly data: DataPaths
  readonly sandbox: Pick<ToolSandbox, 'level'>
  readonly pools: Pick<Pools, 'get' | 'rootOf' | 'layersDirOf'>
  readonly volumes: Pick<Volumes, 'ofVm' | 'layer'>
}

export interface Confine {
  /** Null: QEMU is not locked in. */
  readonly of: ((vmId: string) => Confinement) | null
  /** Before a start: what can be shown only where it is there. Never throws. */
  prepare(vmId: string): void
  /** For the Host page, where guests share the dashboard's user. */
  readonly summary: string
}

const LOCKED_IN =
  'Guests run as the same user as the dashboard, each locked in by bubblewrap: a guest that breaks out of QEMU sees its own directory, the image library and where disks with snapshots or clones lie, those of other VMs among them; neither the database, keys and home directories nor other processes. Run the dashboard as root to give each guest a user of its own.'
const LOOSE =
  'Guests run as the same user as the dashboard: a guest that breaks out of QEMU could read other guests’ disks and the database.'

export function createConfine({ config, data, sandbox, pools, volumes }: ConfineDeps): Confine {
  const bwrap = findProgram('bwrap')
  const why =
    config.confine === 'off'
      ? 'Locking them in is switched off (GUESTDECK_CONFINE=off).'
      : 'They cannot be locked in: bubblewrap is missing, or the kernel refuses user namespaces to ordinary users.'
  if (config.confine === 'off' || bwrap === null || sandbox.level !== 'full') {
    return {
      of: null,
      prepare: () => {},
      summary: `${LOOSE} ${why} Run the dashboard as root to give each guest a user of its own.`,
    }
  }
  return {
    of(vmId) {
      // Snapshots and copies of its disks are made in the pools they lie in; other pools may hang.
      const used = new Set([
        LOCAL_POOL_ID,
        ...volumes.ofVm(vmId).flatMap(({ head }) => volumes.layer(head)?.poolId ?? []),
      ])
      const writable = [...used].flatMap((id) => {
        const pool = pools.get(id)
        return pool === null ? [] : [pools.layersDirOf(pool), join(pools.rootOf(pool), BACKUPS_DIR, vmId)]
      })
      return { bwrap, readable: [data.imagesDir, ...config.imageDirs], writable }
    },
    prepare(vmId) {
      try {
        mkdirSync(join(data.root, BACKUPS_DIR, vmId), { recursive: true, mode: 0o700 })
      } catch {
        // Then a backup of the running guest is refused, and says so.
      }
    },
    summary: LOCKED_IN,
  }
}
