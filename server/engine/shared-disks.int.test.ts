/** Disks that several VMs of one owner write to, through the whole engine. */
import { readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { ANN, BEN, create, data, isRoot, now, update } from './test-rig.ts'
import type { Caller } from './types.ts'

const SMALL = { memoryMiB: 32, cpus: 1, networks: [], display: 'none' }
const disk = (more: object = {}) => ({ device: 'disk', sizeGiB: 2, serial: 'QUORUM', shared: true, ...more })
const make = (who: Caller, name: string, disks: object[]) => create(who, { ...SMALL, name, disks })
const files = () => readdirSync(data.sharedDir).sort()
const fileOf = (who: Caller) => `${who.userId}.QUORUM.raw`

/** Inode numbers of the files a process has open for writing below the directory of shared disks. */
const opened = (pid: number) =>
  readdirSync(`/proc/${pid}/fd`)
    .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
    .filter((path) => path.startsWith(`${data.sharedDir}/`))

it('two VMs of one owner run with one disk at once, on any bus; those of another owner have one of their own', async () => {
  const [one, two, other] = [
    await make(ANN, 'one', [disk()]),
    await make(ANN, 'two', [disk({ bus: 'sata' }), { device: 'disk', sizeGiB: 1 }]),
    await make(BEN, 'other', [disk({ sizeGiB: 3 })]),
  ]
  expect(files()).toEqual([fileOf(ANN), fileOf(BEN)])
  const { size, mode, blocks } = statSync(`${data.sharedDir}/${fileOf(ANN)}`)
  expect({ size, blocks, mode: mode & 0o777 }).toEqual({ size: 2 * 2 ** 30, blocks: 0, mode: isRoot ? 0o660 : 0o600 })
  for (const [who, { id }] of [
    [ANN, one],
    [ANN, two],
    [BEN, other],
  ] as const) {
    const { state, live } = await now.engine.vms.start(who, id)
    expect(state).toBe('running')
    expect(new Set(opened(live?.pid ?? 0))).toEqual(new Set([`${data.sharedDir}/${fileOf(who)}`]))
  }
})

it('a shared disk has one size, and stays what it was', async () => {
  await make(ANN, 'one', [disk()])
  await expect(make(ANN, 'two', [disk({ sizeGiB: 3 })])).rejects.toMatchObject({
    code: 'conflict',
    field: 'disks.0.sizeGiB',
  })
  const three = await make(ANN, 'three', [{ device: 'disk', sizeGiB: 2, serial: 'OTHER' }])
  const refused = { code: 'bad_input', field: 'disks.0.shared' }
  await expect(update(ANN, three.id, { disks: [{ device: 'disk', id: 'disk0', shared: true }] })).rejects.toMatchObject(
    refused,
  )
  const four = await make(ANN, 'four', [disk()])
  const again = { device: 'disk', id: 'disk0', serial: 'ELSE' }
  await expect(update(ANN, four.id, { disks: [again] })).rejects.toMatchObject({ field: 'disks.0.serial' })
  await expect(make(ANN, 'five', [disk(), disk({ id: 'twice' })])).rejects.toMatchObject({ field: 'disks.1.serial' })
  expect(files()).toEqual([fileOf(ANN)])
})

it('it goes with the last VM that has it, and not before', async () => {
  const one = await make(ANN, 'one', [disk()])
  const two = await make(ANN, 'two', [disk()])
  await now.engine.vms.delete(ANN, one.id, null)
  expect(files()).toEqual([fileOf(ANN)])
  // A running guest keeps what its definition has no more.
  await now.engine.vms.start(ANN, two.id)
  const three = await make(ANN, 'three', [disk()])
  await update(ANN, three.id, { disks: [] })
  expect(files()).toEqual([fileOf(ANN)])
  await now.engine.vms.poweroff(ANN, two.id)
  await update(ANN, two.id, { disks: [] })
  expect(files()).toEqual([])
})

it('what was made for a VM that could not be created goes again, and what was there stays', async () => {
  await expect(make(ANN, 'one', [disk({ serial: null })])).rejects.toMatchObject({ field: 'disks.0.serial' })
  // A file of another size, of a VM that this run could not read, for example.
  await make(BEN, 'other', [disk()])
  writeFileSync(`${data.sharedDir}/${ANN.userId}.IN-THE-WAY.raw`, '')
  const both = [disk(), disk({ serial: 'IN-THE-WAY' })]
  await expect(make(ANN, 'two', both)).rejects.toMatchObject({ code: 'conflict' })
  expect(files()).toEqual([`${ANN.userId}.IN-THE-WAY.raw`, fileOf(BEN)])
})
