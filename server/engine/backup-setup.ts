/** Puts the parts of backups together. */
import type { Reachable } from '#lib/auth/privileges.ts'
import { createCatalog, filesOf } from '#server/backup/catalog.ts'
import { sweepBackups } from '#server/backup/remove.ts'
import { type BackupMakeDeps, createBackupMaker } from './backup-make.ts'
import { createProver, type ProverDeps } from './backup-proof.ts'
import { createRestorer, type RestoreDeps } from './backup-restore.ts'
import { type BackupScheduleDeps, createBackupSchedules } from './backup-schedules.ts'
import { type BackupEngineDeps, createBackupEngine } from './backups.ts'
import { createKeyedLock } from './keyed-lock.ts'
import type { BackupSize } from './quota-sources.ts'
import type { BackupEngine } from './types.ts'

type Parts = 'catalog' | 'maker' | 'restorer' | 'prover' | 'schedules' | 'exclusive' | 'onChange'

export interface BackupSetup
  extends Omit<BackupMakeDeps, Parts>,
    Omit<RestoreDeps, Parts>,
    Omit<ProverDeps, Parts>,
    Omit<BackupScheduleDeps, Parts>,
    Omit<BackupEngineDeps, Parts> {
  readonly onBackup: (backupId: string, ownerId: string, vmId: string) => void
}

/** Call before interrupted work is taken up again: its recoveries are registered here. */
export function createBackups(setup: BackupSetup): {
  engine: BackupEngine
  /** Why a pool cannot go; null: no backup lies there. By what was last read of its folders. */
  usesPool(poolId: string): string | null
  /** What a backup is of, as far as access goes; null: there is no such backup. */
  reachable(id: string): Promise<Reachable | null>
  /** What each takes, by what was last read of its folders. */
  sizes(): BackupSize[]
  open(): Promise<void>
} {
  const catalog = createCatalog(setup.pools, setup.warn)
  const locks = createKeyedLock()
  const shared = {
    catalog,
    onChange: setup.onBackup,
    exclusive: <T>(vmId: string, work: () => Promise<T>) => locks.run(vmId, work),
  }
  const maker = createBackupMaker({ ...setup, ...shared })
  const restorer = createRestorer({ ...setup, catalog })
  const prover = createProver(setup)
  const schedules = createBackupSchedules({ ...setup, ...shared, maker })
  return {
    usesPool(poolId) {
      const count = catalog.all().filter((backup) => backup.poolId === poolId).length
      return count === 0 ? null : `It holds ${count === 1 ? 'a backup' : `${count} backups`}; delete them first.`
    },
    sizes: () =>
      catalog.all().map(({ manifest }) => ({
        ...{ vmId: manifest.vm.id, ownerId: manifest.ownerId },
        sizeBytes: filesOf(manifest).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      })),
    async reachable(id) {
      if (catalog.get(id) === null) await catalog.fresh()
      const manifest = catalog.get(id)?.manifest
      if (manifest === undefined) return null
      // The VM's owner, where it is still there; else whom the backup names.
      const ownerId = setup.records.get(manifest.vm.id)?.ownerId ?? manifest.ownerId
      return { kind: 'vm', id: manifest.vm.id, ownerId }
    },
    engine: createBackupEngine({ ...setup, ...shared, maker, restorer, prover, schedules }),
    async open() {
      await prover.sweep()
      // Quotas count them from the start.
      void catalog.fresh().catch((error: unknown) => setup.warn('The backups could not be looked at.', error))
      // A pool that hangs must not keep the dashboard from starting.
      for (const pool of setup.pools.all())
        void sweepBackups(setup.pools.rootOf(pool)).catch((error: unknown) =>
          setup.warn(`Clearing up the backups in ${pool.name} failed.`, error),
        )
    },
  }
}
