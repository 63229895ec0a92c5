/** What reaches out of a guest, through the whole engine: who may ask for it, and as whom it runs. */
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { ADMIN, ANN, create, isRoot, nothingMade, now, shareDir, until, update } from './test-rig.ts'

const SMALL = { memoryMiB: 64, cpus: 1, networks: [] }
const docs = () => join(realpathSync(shareDir), 'docs')
beforeAll(() => mkdirSync(join(shareDir, 'docs'), { recursive: true }))

/** Pids of the programs whose arguments name the directory. */
const serving = (dir: string) =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return argv.includes('virtiofsd') && argv.includes(dir)
    } catch {
      return false
    }
  })
const uidOf = (pid: string) => Number(/^Uid:\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

describe('shared folders', () => {
  it('an administrator’s folders are served by the VM’s own user, as long as it runs', async () => {
    const shares = [{ source: docs() }, { source: docs(), driver: '9p', readOnly: false }]
    const vm = await create(ADMIN, { ...SMALL, name: 'sharing', shares })
    const started = await now.engine.vms.start(ADMIN, vm.id)
    expect(started.state).toBe('running')
    const daemons = serving(docs())
    expect(daemons.length).toBeGreaterThan(0)
    if (isRoot) for (const pid of daemons) expect(uidOf(pid)).toBe(started.live?.uid)
    await now.engine.vms.poweroff(ADMIN, vm.id)
    await until(
      () => serving(docs()).length,
      (count) => count === 0,
    )
  })

  it('a folder that became a link since it was shared is not served', async () => {
    const source = join(realpathSync(shareDir), 'swapped')
    mkdirSync(source)
    const vm = await create(ADMIN, { ...SMALL, name: 'swapped', shares: [{ source, driver: '9p' }] })
    rmSync(source, { recursive: true })
    symlinkSync('/etc', source)
    await expect(now.engine.vms.start(ADMIN, vm.id)).rejects.toMatchObject({
      code: 'forbidden',
      field: 'shares.0.source',
    })
    // The rest of the definition can still be changed.
    expect(await update(ADMIN, vm.id, { memoryMiB: 128 })).toMatchObject({ spec: { memoryMiB: 128 } })
    rmSync(source)
  })

  it('an operator shares nothing, in a new VM or in their own', async () => {
    const shares = [{ source: docs(), driver: '9p' }]
    await expect(create(ANN, { ...SMALL, name: 'a', shares })).rejects.toMatchObject({
      code: 'forbidden',
      field: 'shares',
    })
    nothingMade()
    const vm = await create(ANN, { ...SMALL, name: 'a' })
    await expect(update(ANN, vm.id, { shares })).rejects.toMatchObject({ code: 'forbidden' })
    // What an administrator put there stays when the operator changes something else.
    await update(ADMIN, vm.id, { shares })
    const changed = await update(ANN, vm.id, { memoryMiB: 128 })
    expect(changed.spec).toMatchObject({ memoryMiB: 128, shares: [{ source: docs() }] })
  })
})

it.each([
  ['-incoming', 'exec:touch /tmp/guestdeck-canary'],
  ['-netdev', 'tap,id=n,script=/tmp/x'],
  ['-plugin', '/tmp/x.so'],
  ['-drive', 'file=fat:/etc'],
  ['-fw_cfg', 'name=opt/x,file=/etc/shadow'],
  ['-smbios', 'file=/etc/shadow'],
  ['-chardev', 'file,id=f,path=/etc/passwd'],
  ['-D', '/etc/passwd'],
])('raw options are off: %s is forbidden even to an administrator, and nothing is made', async (...rawArgs) => {
  const refused = { code: 'forbidden', field: 'rawArgs' }
  await expect(create(ADMIN, { ...SMALL, name: 'raw', rawArgs })).rejects.toMatchObject(refused)
  await expect(now.engine.vms.preview(ADMIN, { ...SMALL, name: 'raw', rawArgs })).rejects.toMatchObject(refused)
  nothingMade()
})

it.each([
  [{ properties: { disk0: { scsi: true } } }, 'properties.disk0.scsi'],
  [{ properties: { disk0: { help: true } } }, 'properties.disk0.help'],
  [{ properties: { kbd0: { pcap: '/etc/passwd' } } }, 'properties.kbd0.pcap'],
])('properties that reach out of the guest are refused at the field: %j', async (part, field) => {
  const spec = { ...SMALL, name: 'p', disks: [{ device: 'disk', sizeGiB: 1 }], ...part }
  await expect(create(ANN, spec)).rejects.toMatchObject({ code: 'bad_input', field })
  nothingMade()
})
