/** Volumes and layers on a real store and real files, with the real qemu-img. */
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { GIB } from '#lib/units.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createPools, LOCAL_POOL_ID } from './pools.ts'
import { createQemuImg } from './qemu-img.ts'
import { createToolSandbox } from './sandbox.ts'
import { createSpaceLedger } from './space.ts'
import type { LegacyDisk, Volumes } from './volume-types.ts'
import { createVolumes } from './volumes.ts'

const OWNER = '01890000-0000-7000-8000-000000000001'
const VM = '01890000-0000-7000-8000-0000000000aa'
const IMAGE = '01890000-0000-7000-8000-0000000000bb'
const cleanups: (() => void)[] = []
afterEach(() => {
  for (const clean of cleanups.splice(0).reverse()) clean()
})

async function rig() {
  const root = mkdtempSync(join(tmpdir(), 'gd-vol-'))
  cleanups.push(() => rmSync(root, { recursive: true, force: true }))
  const data = dataPaths(join(root, 'data'))
  prepareDataDir(data.root, false, () => {})
  for (const dir of [data.layersDir, data.vmsDir, data.imagesDir, data.vmDir(VM)]) mkdirSync(dir, { recursive: true })
  const store = openStore(data)
  cleanups.push(() => store.close())
  const qemuImg = createQemuImg(await createToolSandbox())
  await qemuImg.createBlank(data.image(IMAGE), GIB)
  const make = (): Volumes => {
    const pools = createPools(data, store, createSpaceLedger(data.root, 0), () => {})
    pools.open()
    return createVolumes({
      ...{ data, store, pools, qemuImg, readersGid: null, warn: () => {} },
      image: (id) => (id === IMAGE ? { path: data.image(IMAGE), format: 'qcow2' } : null),
    })
  }
  const open = async (legacy: LegacyDisk[] = []) => {
    const volumes = make()
    const notes = await volumes.open(legacy)
    return { volumes, notes }
  }
  const blank = { name: 'web disk0', ownerId: OWNER, sizeBytes: GIB, parent: null, uid: null }
  return { data, store, open, blank }
}

describe('a volume', () => {
  it('of a VM has its first file in the VM’s directory, private, and its chain ends at its image', async () => {
    const { data, open, blank } = await rig()
    const { volumes } = await open()
    await volumes.create({ ...blank, parent: { image: IMAGE }, vm: { id: VM, device: 'disk0' } })
    expect(volumes.chainOf(VM, 'disk0')).toMatchObject([
      { path: data.disk(VM, 'disk0'), format: 'qcow2', imageId: null },
      { path: data.image(IMAGE), layerId: null, imageId: IMAGE },
    ])
    expect(statSync(data.disk(VM, 'disk0')).mode & 0o777).toBe(0o600)
    expect(volumes.standingOn(IMAGE)).toHaveLength(1)
  })

  it('made again beside a file that a snapshot still holds gets a file of its own', async () => {
    const { data, open, blank } = await rig()
    const { volumes } = await open()
    const first = await volumes.create({ ...blank, vm: { id: VM, device: 'disk0' } })
    const release = volumes.registerHolder({ holds: (id) => (id === first.head ? 'the snapshot “before”' : null) })
    await volumes.remove(first.id)
    expect(existsSync(data.disk(VM, 'disk0'))).toBe(true)
    await volumes.create({ ...blank, vm: { id: VM, device: 'disk0' } })
    expect(volumes.chainOf(VM, 'disk0')?.[0]?.path).toContain(data.layersDir)
    release()
    await volumes.collect()
    expect(existsSync(data.disk(VM, 'disk0'))).toBe(false)
    expect(volumes.layers()).toHaveLength(1)
  })

  it('never takes over a file that nobody announced', async () => {
    const { data, open, blank } = await rig()
    const { volumes } = await open()
    writeFileSync(data.disk(VM, 'disk0'), 'planted')
    await expect(volumes.create({ ...blank, vm: { id: VM, device: 'disk0' } })).rejects.toMatchObject({
      code: 'conflict',
    })
    expect(volumes.layers()).toEqual([])
  })

  it('of a definition older than volumes is taken over where it lies, once', async () => {
    const { data, open } = await rig()
    const legacy: LegacyDisk = {
      ...{ vmId: VM, vmName: 'old', ownerId: OWNER, uid: null, device: 'a', sizeGiB: 3, image: IMAGE },
      createdAt: '2026-01-01T00:00:00.000Z',
    }
    await open([legacy])
    const { volumes } = await open([legacy])
    expect(volumes.all()).toMatchObject([{ name: 'old a', sizeBytes: 3 * GIB, vm: { id: VM, device: 'a' } }])
    expect(volumes.chainOf(VM, 'a')?.map(({ path }) => path)).toEqual([data.disk(VM, 'a'), data.image(IMAGE)])
  })
})

describe('a layer', () => {
  it('stays while another stands on it, and goes with the last that does', async () => {
    const { data, open, blank } = await rig()
    const { volumes } = await open()
    const base = await volumes.create({ ...blank, vm: null })
    const clone = await volumes.create({ ...blank, name: 'clone', parent: { layer: base.head }, vm: null })
    expect(volumes.isFrozen(base.head)).toBe(true)
    expect(volumes.needs(base.head)).toEqual(['the disk “clone”'])
    await expect(volumes.dropLayer(base.head)).rejects.toMatchObject({ code: 'in_use' })
    await volumes.remove(base.id)
    expect(volumes.chain(clone.head)).toHaveLength(2)
    expect(readdirSync(data.layersDir)).toHaveLength(2)
    await volumes.remove(clone.id)
    expect(readdirSync(data.layersDir)).toEqual([])
    expect(volumes.layers()).toEqual([])
  })

  it('that a crash left half made or half removed is gone after the next start (F11)', async () => {
    const { data, store, open, blank } = await rig()
    const { volumes } = await open()
    const making = volumes.announceLayer({
      ...{ poolId: LOCAL_POOL_ID, format: 'qcow2', sizeBytes: GIB, parent: null, uid: null },
    })
    writeFileSync(volumes.pathOf(making), 'half')
    const kept = await volumes.create({ ...blank, vm: null })
    const leaving = await volumes.makeLayer({
      ...{ poolId: LOCAL_POOL_ID, format: 'raw', sizeBytes: 4096, parent: null, uid: null },
    })
    volumes.changeLayer(leaving.id, { state: 'leaving' })
    const again = await open()
    expect(again.notes).toHaveLength(2)
    expect(again.volumes.layers().map(({ id }) => id)).toEqual([kept.head])
    expect(readdirSync(data.layersDir)).toHaveLength(1)
    expect(store.list('layer')).toHaveLength(1)
  })

  it('that was finished and became nobody’s is collected, unless it is pinned', async () => {
    const { data, open } = await rig()
    const { volumes } = await open()
    const layer = await volumes.makeLayer({
      ...{ poolId: LOCAL_POOL_ID, format: 'qcow2', sizeBytes: GIB, parent: null, uid: null },
    })
    const release = volumes.pin(layer.id)
    await volumes.collect()
    expect(existsSync(volumes.pathOf(layer))).toBe(true)
    release()
    release()
    await volumes.collect()
    expect(readdirSync(data.layersDir)).toEqual([])
  })

  it('that is shared gets a second name where others can reach it, with the same content', async () => {
    const { data, open, blank } = await rig()
    const { volumes } = await open()
    const volume = await volumes.create({ ...blank, vm: { id: VM, device: 'disk0' } })
    const before = statSync(data.disk(VM, 'disk0')).ino
    const shared = await volumes.share(volume.head)
    expect(volumes.pathOf(shared)).toBe(join(data.layersDir, `${volume.head}.qcow2`))
    expect(statSync(volumes.pathOf(shared)).ino).toBe(before)
    // Again changes nothing.
    expect((await volumes.share(volume.head)).file).toBe(shared.file)
    linkSync(volumes.pathOf(shared), join(data.root, 'proof'))
    expect(statSync(join(data.root, 'proof')).ino).toBe(before)
  })

  it('of a chain that an image has gone from is refused, not skipped', async () => {
    const { open, blank } = await rig()
    const { volumes } = await open()
    const volume = await volumes.create({ ...blank, parent: { image: IMAGE }, vm: null })
    const gone = volumes.changeLayer(volume.head, { parent: { image: OWNER } })
    expect(() => volumes.chain(gone.id)).toThrow(/no longer in the library/)
  })
})
