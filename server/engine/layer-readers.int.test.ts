/** Who may read what clones stand on, where each guest has a user of its own: asked of the kernel as those users. */
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import type { LayerDocument, VolumeDocument } from '#server/storage/volume-documents.ts'
import { ADMIN, ANN, BEN, create, data, isRoot, now, until, update } from './test-rig.ts'

const clone = async (id: string, name: string): Promise<string> => {
  const { id: jobId } = await now.engine.clones.clone(ANN, id, CloneInput.parse({ name, kind: 'linked' }))
  const job = await until(
    () => now.engine.jobs.view(ANN, jobId),
    ({ state }) => !['queued', 'running'].includes(state),
    60_000,
  )
  expect(job).toMatchObject({ state: 'done' })
  return job.result ?? ''
}
const layerOf = (id: string) => now.store.get<LayerDocument>('layer', id)?.value
const volumeOf = (vmId: string) => {
  const found = now.store.list<VolumeDocument>('volume').find(({ value }) => value.vm?.id === vmId)
  if (found === undefined) throw new Error('it has no disk')
  return found.value
}
/** The file that a VM's disk stands on. */
const baseOf = (vmId: string) => {
  const parent = layerOf(volumeOf(vmId).head)?.parent ?? null
  const layer = parent !== null && 'layer' in parent ? layerOf(parent.layer) : undefined
  if (layer === undefined) throw new Error('it stands on nothing')
  return { layer, path: join(data.root, layer.file), gid: statSync(join(data.root, layer.file)).gid }
}
const start = (vmId: string) => now.engine.vms.start(ANN, vmId)

/** Whether a program with all that this guest's QEMU is and has could read the file. */
const canRead = ({ live }: Vm, path: string): boolean => {
  const status = readFileSync(`/proc/${live?.pid}/status`, 'utf8')
  const groups = /^Groups:[ \t]*(.*?) *$/m.exec(status)?.[1]?.replaceAll(' ', ',') ?? ''
  const ids = [`--reuid=${live?.uid}`, `--regid=${live?.uid}`, groups === '' ? '--clear-groups' : `--groups=${groups}`]
  try {
    execFileSync('setpriv', [...ids, '--inh-caps=-all', '--bounding-set=-all', '--', 'head', '-c', '1', path], {
      stdio: 'ignore',
    })
    return true
  } catch {
    return false
  }
}

test.skipIf(!isRoot)(
  'what clones stand on is read by their guests and by no other’s, unless one was given it while it ran',
  async () => {
    const disk = { device: 'disk', sizeGiB: 1 }
    const small = { memoryMiB: 32, cpus: 1 }
    const source = await create(ANN, { name: 'golden', ...small, disks: [disk] })
    const [oneId, twoId] = [await clone(source.id, 'one'), await clone(source.id, 'two')]
    const stranger = await create(BEN, { name: 'stranger', ...small, disks: [disk] })
    const other = await now.engine.vms.start(BEN, stranger.id)

    const [golden, one] = await Promise.all([start(source.id), start(oneId)])
    const two = await start(twoId)
    const { path, gid, layer } = baseOf(oneId)
    const identity = guestIdentity(true)
    expect(identity.isLayerGroup(gid)).toBe(true)
    expect(layer.gid).toBe(gid)
    expect(statSync(path).mode & 0o777).toBe(0o640)
    for (const vm of [golden, one, two]) expect(canRead(vm, path), vm.name).toBe(true)
    expect(canRead(other, path)).toBe(false)
    // Named in the command that is shown, as it is in the one that runs.
    const shown = await now.engine.vms.commandLine(ANN, oneId, { of: 'running' })
    expect(shown.shell).toContain(String(gid))

    // Its guest off, the disk of a clone is given to the stranger, which runs.
    await now.engine.vms.poweroff(ANN, twoId)
    const volume = volumeOf(twoId)
    await now.engine.volumes.detach(ANN, volume.id)
    const given = await create(ANN, { name: 'guest', ...small, disks: [disk] })
    const running = await start(given.id)
    expect(canRead(running, path)).toBe(false)
    await update(ANN, given.id, { disks: [...given.spec.disks, { device: 'disk', volume: volume.id }] })
    expect((await now.engine.vms.view(ANN, given.id)).pending).toEqual([])
    expect(canRead(running, path)).toBe(true)
    expect(baseOf(oneId)).toMatchObject({ gid: identity.readersGid, layer: { gid: null } })
    // Those that were in the group read it as all do.
    expect(canRead(one, path)).toBe(true)

    // Once none of those runs that were started without, it is closed again.
    for (const { id } of [given, one, golden]) await now.engine.vms.poweroff(ADMIN, id)
    const again = await start(given.id)
    expect(canRead(again, path)).toBe(true)
    expect(canRead(other, path)).toBe(false)
  },
)
