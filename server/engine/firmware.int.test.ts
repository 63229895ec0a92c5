/** What the board keeps, through the whole engine: UEFI variables, TPM, clock; and CPUs that are bound. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ADMIN, ANN, BEN, create, data, EYE, isRoot, now, until, update } from './test-rig.ts'

/** Name of the variable with the platform key, as it stands in a store that has one (UEFI: names are UCS-2). */
const PLATFORM_KEY = Buffer.from('PK\0', 'utf16le')
const hasKeys = (vmId: string): boolean => readFileSync(data.nvram(vmId)).includes(PLATFORM_KEY)

const canSecureBoot = existsSync('/usr/share/OVMF/OVMF_VARS_4M.ms.fd')

it.runIf(canSecureBoot)('a VM with Secure Boot starts with keys; one without has none', async () => {
  const secure = await create(ANN, { name: 'secure', secureBoot: true })
  expect(secure.spec).toMatchObject({ firmware: 'uefi', secureBoot: true })
  expect(hasKeys(secure.id)).toBe(true)
  const plain = await create(ANN, { name: 'plain', firmware: 'uefi' })
  expect(hasKeys(plain.id)).toBe(false)
})

it.runIf(canSecureBoot)(
  'switching Secure Boot on leaves the variables alone, says so, and a reset brings the keys',
  async () => {
    const vm = await create(ANN, { name: 'later', firmware: 'uefi' })
    await update(ANN, vm.id, { secureBoot: true })
    expect(hasKeys(vm.id)).toBe(false)
    const warnings = async () => (await now.engine.vms.commandLine(ANN, vm.id, { of: 'next' })).warnings.join('\n')
    expect(await warnings()).toMatch(/made without Secure Boot/)
    const before = statSync(data.nvram(vm.id))
    await now.engine.vms.resetFirmware(ANN, vm.id)
    expect(hasKeys(vm.id)).toBe(true)
    expect(await warnings()).not.toMatch(/made without Secure Boot/)
    const after = statSync(data.nvram(vm.id))
    expect(after.ino).not.toBe(before.ino)
    expect(after.mode & 0o777).toBe(isRoot ? 0o660 : 0o600)
    if (isRoot) expect(after.uid).toBe(before.uid)
    const { items } = await now.engine.vms.activity(ANN, vm.id, { limit: 10 })
    expect(items.map((entry) => entry.what)).toContain('vmFirmwareReset')
  },
)

it('a reset is for those who may change the VM, when it is off and has UEFI', async () => {
  const vm = await create(ANN, { name: 'uefi', firmware: 'uefi', memoryMiB: 64 })
  await expect(now.engine.vms.resetFirmware(EYE, vm.id)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(now.engine.vms.resetFirmware(BEN, vm.id)).rejects.toMatchObject({ code: 'not_found' })
  await now.engine.vms.start(ANN, vm.id)
  const before = statSync(data.nvram(vm.id)).ino
  await expect(now.engine.vms.resetFirmware(ADMIN, vm.id)).rejects.toMatchObject({ code: 'wrong_state' })
  expect(statSync(data.nvram(vm.id)).ino).toBe(before)
  await now.engine.vms.poweroff(ANN, vm.id)
  const bios = await create(ANN, { name: 'bios', firmware: 'bios' })
  await expect(now.engine.vms.resetFirmware(ANN, bios.id)).rejects.toMatchObject({ code: 'wrong_state' })
})

it.runIf(existsSync('/usr/bin/swtpm'))(
  'a VM with a TPM keeps what the chip knows from one start to the next',
  async () => {
    const vm = await create(ANN, { name: 'tpm', tpm: 'tpm-crb', memoryMiB: 64 })
    const state = join(data.vmDir(vm.id), 'tpm', 'tpm2-00.permall')
    await now.engine.vms.start(ANN, vm.id)
    const { options } = await now.engine.vms.commandLine(ANN, vm.id, { of: 'running' })
    expect(options.map((option) => option.argv.join(' '))).toContain('-tpmdev emulator,id=tpm0.emu,chardev=tpm0.sock')
    expect(statSync(state).mode & 0o777).toBe(isRoot ? 0o660 : 0o600)
    if (isRoot) expect(statSync(state).uid).toBe(statSync(data.vmDir(vm.id)).gid)
    const before = readFileSync(state)
    await now.engine.vms.poweroff(ANN, vm.id)
    await now.engine.vms.start(ANN, vm.id)
    const after = readFileSync(state)
    // Another chip has other seeds of its keys: hundreds of bytes. This one counts its starts.
    expect(after.length).toBe(before.length)
    expect(after.filter((byte, at) => byte !== before[at]).length).toBeLessThan(50)
    await now.engine.vms.poweroff(ANN, vm.id)
  },
)

it('time that passes does not make a clock with an offset look changed; another offset does', async () => {
  const vm = await create(ANN, { name: 'clock', clockOffsetSeconds: 3600, memoryMiB: 64 })
  await now.engine.vms.start(ANN, vm.id)
  const startedAt = Math.floor(Date.now() / 1000)
  const clock = async () => {
    const { options } = await now.engine.vms.commandLine(ANN, vm.id, { of: 'next' })
    return options.find((option) => option.argv[0] === '-rtc')
  }
  await until(
    () => Math.floor(Date.now() / 1000),
    (second) => second > startedAt,
  )
  expect(await clock()).toMatchObject({ changed: false })
  await update(ANN, vm.id, { clockOffsetSeconds: 7200 })
  expect(await clock()).toMatchObject({ changed: true })
  await now.engine.vms.poweroff(ANN, vm.id)
})

it('a virtual CPU runs where it was bound; the others wherever there is room', async () => {
  const allowedOf = (status: string) => /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(status, 'utf8'))?.[1] ?? ''
  const all = allowedOf('/proc/self/status')
  const [one = '0'] = all.split(/[-,]/)
  const vm = await create(ANN, {
    name: 'bound',
    accelerator: 'tcg',
    cpus: 2,
    memoryMiB: 64,
    pinning: [{ vcpu: 1, hostCpus: one }],
  })
  const { live } = await now.engine.vms.start(ANN, vm.id)
  const tasks = `/proc/${live?.pid}/task`
  const allowed = (thread: string) =>
    readdirSync(tasks)
      .filter((task) => readFileSync(join(tasks, task, 'comm'), 'utf8').startsWith(thread))
      .map((task) => allowedOf(join(tasks, task, 'status')))
  expect(allowed('CPU 1/')).toEqual([one])
  expect(allowed('CPU 0/')).toEqual([all])
  await now.engine.vms.poweroff(ANN, vm.id)
})
