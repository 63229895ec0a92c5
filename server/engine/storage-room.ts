/** Where files lie and what works on them: directories, pools, their health, volumes, helper tools in their sandbox. */
import { mkdir, rm } from 'node:fs/promises'
import { rootActs } from '#server/launcher/acts.ts'
import { diskReadersDir } from '#server/paths.ts'
import { startedAsRoot } from '#server/platform/privileges.ts'
import { prepareDataDirs } from '#server/storage/dirs.ts'
import { createDiskReader } from '#server/storage/disk-reader.ts'
import { createDiskServer } from '#server/storage/disk-server.ts'
import { childFiles, directFiles } from '#server/storage/layer-files.ts'
import { createPoolHealth } from '#server/storage/pool-health.ts'
import { createPools, LOCAL_POOL_ID } from '#server/storage/pools.ts'
import { createQemuImg } from '#server/storage/qemu-img.ts'
import { createToolSandbox } from '#server/storage/sandbox.ts'
import { createSharedDisks } from '#server/storage/shared-disks.ts'
import { createSpaceLedger } from '#server/storage/space.ts'
import { createVmFiles } from '#server/storage/vm-files.ts'
import { createVolumes } from '#server/storage/volumes.ts'
import { createConfine } from './confine.ts'
import type { EngineDeps } from './deps.ts'
import { EngineError } from './errors.ts'

/** Of a pool whose reserve nobody has set. */
const MINIMUM_RESERVE_BYTES = 5 * 2 ** 30

/**
 * Prepares the directories on the way.
 * @param image file of a library image; null: there is none
 * @throws Error when the data directory cannot be used
 */
export async function createStorageRoom(
  deps: EngineDeps,
  warn: (message: string, error?: unknown) => void,
  image: Parameters<typeof createVolumes>[0]['image'],
) {
  const { config, data, store, identity, log } = deps
  for (const note of await prepareDataDirs(data, identity.readersGid)) log.info({}, note)
  await mkdir(config.runDir, { recursive: true, mode: identity.readersGid === null ? 0o700 : 0o711 })
  const opened = await rootActs().openPath({ dir: config.runDir, readersGid: identity.readersGid })
  for (const note of opened) log.info({}, note)

  const sandbox = await createToolSandbox()
  if (sandbox.level !== 'full') {
    warn('Helper tools run without a namespace sandbox: bubblewrap is missing or the kernel refuses user namespaces.')
  }
  const looseTools =
    sandbox.level === 'full' ? '' : ' Helper tools that read disks run without a namespace sandbox; install bubblewrap.'
  const readersDir = diskReadersDir(config.runDir)
  // What a dashboard that was killed left.
  await rm(readersDir, { recursive: true, force: true })
  await mkdir(readersDir, { mode: identity.readersGid === null ? 0o700 : 0o711 })
  const space = createSpaceLedger(data.root, deps.minimumReserveBytes)
  const qemuImg = createQemuImg(sandbox)
  const pools = createPools(data, store, space, warn, deps.minimumReserveBytes, (id) => roomOf(id))
  pools.open()
  const health = createPoolHealth({
    pools,
    minimumReserveBytes: deps.minimumReserveBytes ?? MINIMUM_RESERVE_BYTES,
    ...(deps.poolTimes ?? {}),
  })
  const roomOf = async (id: string) => {
    const { look, reserveBytes, evidence } = await health.look(id)
    if (look === null) throw new EngineError('pool_unavailable', `The storage pool cannot be used: ${evidence}`)
    return { ...look, reserveBytes }
  }
  const layerFiles = (poolId: string) => (poolId === LOCAL_POOL_ID ? directFiles() : childFiles(health.childOf(poolId)))
  const volumes = createVolumes({
    ...{ data, store, pools, qemuImg, warn, image },
    readersGid: identity.readersGid,
    files: layerFiles,
  })
  // Where guests have users of their own, those stand between them.
  const confine = startedAsRoot ? null : createConfine({ ...{ config, data, sandbox, pools, volumes } })
  return {
    confine,
    diskReader: createDiskReader(sandbox, readersDir),
    diskServer: createDiskServer(sandbox, readersDir),
    ...{ sandbox, space, qemuImg, pools, health, layerFiles, volumes },
    files: createVmFiles(data, qemuImg),
    shared: createSharedDisks(data, identity.readersGid),
    isolation: {
      privileged: identity.readersGid !== null,
      summary: `${confine?.summary ?? identity.summary}${looseTools}`,
    },
  }
}
