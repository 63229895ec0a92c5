import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { VmCreateInput } from '#lib/api/operations/vms.ts'
import { SeedInput } from '#lib/schema/seed.ts'
import {
  ADMIN,
  ANN,
  anotherRun,
  BEN,
  create,
  data,
  EYE,
  isRoot,
  nothingMade,
  now,
  runDir,
  until,
  update,
} from './test-rig.ts'
import type { Caller } from './types.ts'

const PASSWORD = 'correct horse battery'
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFnothingtoseeherenothingtoseeherenothingX ann@desk'
const KEY_TEXT = 'AAAAIFnothingtoseehere'
const SECRET_COMMAND = 'curl -H token:0a1b2c3d4e'
const form = { userName: 'ann', password: PASSWORD, sshKeys: [KEY], commands: [SECRET_COMMAND], packages: ['nginx'] }
const seed = (over: object = {}) => SeedInput.parse({ kind: 'nocloud', form, ...over })
/** Small, and stopped by nothing: its firmware finds nothing to boot. */
const small = { memoryMiB: 64, cpus: 1, guest: 'linux', display: 'none', networks: [] }

const make = (who: Caller, name: string, over: object = {}) =>
  now.engine.vms.create(who, VmCreateInput.parse({ name, ...small, seed: seed(), ...over }))
const seedOf = async (who: Caller, id: string) => (await now.engine.seeds.view(who, id)).seed
const filesOf = (id: string) => readdirSync(data.vmDir(id)).filter((name) => name.startsWith('seed'))
const userDataIn = (id: string): string => {
  const [name = ''] = filesOf(id)
  return readFileSync(join(data.vmDir(id), name), 'latin1')
}
const holder = (vm: { spec: { disks: readonly { device: string; id: string; seed?: unknown }[] } }) =>
  vm.spec.disks.find((drive) => drive.device === 'cdrom' && drive.seed !== null)

describe('a VM with a seed', () => {
  it('is made in one request, with a drive its kernel sees, and the preview shows that drive', async () => {
    const input = VmCreateInput.parse({ name: 'web', ...small, seed: seed() })
    const preview = await now.engine.vms.preview(ANN, input)
    const option = preview.commandLine.options.find(({ what }) => what.includes('seed CD'))
    expect(option?.argv.join(' ')).toContain('seed-')
    nothingMade()
    const vm = await make(ANN, 'web')
    expect(holder(vm)).toMatchObject({ id: 'seed', bus: 'virtio-scsi', bootIndex: null })
    expect(filesOf(vm.id)).toHaveLength(1)
    expect(await seedOf(ANN, vm.id)).toMatchObject({
      kind: 'nocloud',
      state: 'waiting',
      drive: 'seed',
      inserted: false,
      label: 'cidata',
      by: 'ann',
      summary: {
        hostName: 'web',
        users: [{ name: 'ann', keys: 1, hasPassword: true }],
        packages: ['nginx'],
        commands: 1,
      },
    })
    expect(userDataIn(vm.id)).toContain('$6$rounds=')
  })

  it('has its secrets in the CD’s file alone: closed to all but the guest and the dashboard, nowhere else on the disk, in a view or an argv (D10)', async () => {
    const vm = await make(ANN, 'web')
    await now.engine.vms.start(ANN, vm.id)
    const [name = ''] = filesOf(vm.id)
    const facts = statSync(join(data.vmDir(vm.id), name))
    expect(facts.mode & 0o777).toBe(isRoot ? 0o660 : 0o600)
    if (isRoot) expect(facts.uid).toBeGreaterThan(0)
    const running = await now.engine.vms.view(ANN, vm.id)
    const told = JSON.stringify([
      running,
      await seedOf(ANN, vm.id),
      await now.engine.vms.commandLine(ANN, vm.id, { of: 'running' }),
      await now.engine.vms.activity(ANN, vm.id, { limit: 50 }),
      await now.engine.activity(ADMIN, { limit: 200 }),
      await now.engine.vms.list(EYE),
    ])
    const argv = readFileSync(`/proc/${running.live?.pid}/cmdline`, 'utf8')
    const [, hash = 'no hash'] = /passwd: (\$6\$\S+)/.exec(userDataIn(vm.id)) ?? []
    for (const secret of [PASSWORD, KEY_TEXT, SECRET_COMMAND, hash]) {
      expect(told).not.toContain(secret)
      expect(argv).not.toContain(secret)
      const holders = execFileSync('sh', ['-c', 'grep -rlaF -e "$0" "$1" "$2" || true', secret, data.root, runDir], {
        encoding: 'utf8',
      })
      const expected = secret === PASSWORD ? '' : `${join(data.vmDir(vm.id), name)}\n`
      expect(holders, secret).toBe(expected)
    }
    await now.engine.vms.poweroff(ANN, vm.id)
  })

  it('shows a viewer nothing of it, and others not that it is there (D10)', async () => {
    const vm = await make(ANN, 'web')
    await expect(seedOf(EYE, vm.id)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(now.engine.seeds.replace(EYE, vm.id, seed())).rejects.toMatchObject({ code: 'forbidden' })
    await expect(now.engine.seeds.remove(EYE, vm.id)).rejects.toMatchObject({ code: 'forbidden' })
    for (const work of [
      seedOf(BEN, vm.id),
      now.engine.seeds.replace(BEN, vm.id, seed()),
      now.engine.seeds.remove(BEN, vm.id),
    ])
      await expect(work).rejects.toMatchObject({ code: 'not_found' })
    expect(filesOf(vm.id)).toHaveLength(1)
  })

  it('is not made when the seed is wrong, and leaves nothing', async () => {
    const text = '#cloud-config\nusers: ['
    await expect(make(ANN, 'web', { seed: seed({ text }) })).rejects.toMatchObject({
      code: 'bad_input',
      field: 'seed.text',
    })
    nothingMade()
    expect(now.store.list('seed')).toEqual([])
  })

  it('takes no seed of another VM, nor one by its definition', async () => {
    const mine = await make(ANN, 'web')
    const drive = holder(mine)
    const disks = [{ device: 'cdrom', bus: 'virtio-scsi', seed: drive?.seed }]
    await expect(create(ANN, { name: 'thief', ...small, disks })).rejects.toMatchObject({
      code: 'bad_input',
      field: 'disks.0.seed',
    })
    const other = await create(ANN, { name: 'other', ...small })
    await expect(update(ANN, other.id, { disks })).rejects.toMatchObject({ code: 'bad_input' })
  })
})

describe('the seed of a VM', () => {
  it('is replaced and taken out in the running guest, and its file goes with it', async () => {
    const vm = await make(ANN, 'web')
    await now.engine.vms.start(ANN, vm.id)
    const first = await seedOf(ANN, vm.id)
    expect(first).toMatchObject({ inserted: true })
    const { seed: second } = await now.engine.seeds.replace(
      ANN,
      vm.id,
      seed({ text: '#cloud-config\nhostname: other\n' }),
    )
    expect(second).toMatchObject({
      inserted: true,
      drive: 'seed',
      state: 'waiting',
      summary: { byHand: true, hostName: 'other' },
    })
    expect(second?.id).not.toBe(first?.id)
    expect(filesOf(vm.id)).toEqual([`seed-${second?.id}.iso`])
    const view = await now.engine.vms.view(ANN, vm.id)
    expect(view.pending).toEqual([])
    await now.engine.seeds.remove(ANN, vm.id)
    expect(await seedOf(ANN, vm.id)).toMatchObject({ state: 'removed', drive: null, inserted: false })
    expect(filesOf(vm.id)).toEqual([])
    expect((await now.engine.vms.view(ANN, vm.id)).pending).toEqual([])
    await now.engine.vms.poweroff(ANN, vm.id)
  })

  it('is given to a VM that had none, in the drive it gets at its next start', async () => {
    const vm = await create(ANN, { name: 'plain', ...small })
    expect(await seedOf(ANN, vm.id)).toBeNull()
    await now.engine.seeds.replace(ANN, vm.id, SeedInput.parse({ kind: 'kickstart', form }))
    expect(await seedOf(ANN, vm.id)).toMatchObject({ label: 'OEMDRV', kind: 'kickstart', inserted: false })
    await now.engine.vms.start(ANN, vm.id)
    expect(await seedOf(ANN, vm.id)).toMatchObject({ inserted: true })
    await now.engine.vms.poweroff(ANN, vm.id)
  })

  it('is gone with its VM, from the store too', async () => {
    const vm = await make(ANN, 'web')
    await now.engine.vms.delete(ANN, vm.id, null)
    nothingMade()
    expect(now.store.list('seed')).toEqual([])
  })
})

describe('a dashboard that died', () => {
  it('between writing a seed and naming it leaves neither file nor record', async () => {
    const vm = await make(ANN, 'web')
    const known = await seedOf(ANN, vm.id)
    const stray = '01890000-0000-7000-8000-0000000fffff'
    const half = '01890000-0000-7000-8000-0000000ffffe'
    await anotherRun(() => {
      writeFileSync(data.seed(vm.id, stray), 'x', { mode: 0o600 })
      writeFileSync(`${data.seed(vm.id, half)}.new`, 'x', { mode: 0o600 })
    })
    expect(filesOf(vm.id)).toEqual([`seed-${known?.id}.iso`])
    const document = now.store.get<object>('seed', known?.id ?? '')?.value
    now.store.put('seed', stray, { ...document, id: stray, wasNamed: false })
    await anotherRun(() => {})
    expect(now.store.list('seed').map(({ key }) => key)).toEqual([known?.id])
    expect(await seedOf(ANN, vm.id)).toEqual(known)
  })

  it('after a seed was used takes it out when it is back', async () => {
    const vm = await make(ANN, 'web', { seed: seed({ removeAfterUse: true }) })
    const known = await seedOf(ANN, vm.id)
    const document = now.store.get<object>('seed', known?.id ?? '')?.value
    now.store.put('seed', known?.id ?? '', {
      ...document,
      state: 'used',
      usedAt: new Date().toISOString(),
      usedWhy: 'Test.',
    })
    await anotherRun(() => {})
    expect(await seedOf(ANN, vm.id)).toMatchObject({ state: 'removed', usedWhy: 'Test.', drive: null })
    expect(filesOf(vm.id)).toEqual([])
    expect(existsSync(data.vmDir(vm.id))).toBe(true)
  })

  it('finds the seed of a running guest again', async () => {
    const vm = await make(ANN, 'web')
    await now.engine.vms.start(ANN, vm.id)
    await anotherRun(() => {})
    await until(
      () => seedOf(ANN, vm.id),
      (found) => found?.inserted === true,
    )
    expect(filesOf(vm.id)).toHaveLength(1)
    await now.engine.vms.poweroff(ANN, vm.id)
  })
})
