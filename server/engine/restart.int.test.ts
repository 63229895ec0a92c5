/** Restart with a real guest that obeys the power button, and one that does not. */
import { expect, it } from 'vitest'
import { ADMIN, ANN, bootDisk, create, EYE, now, until, update, upload } from './test-rig.ts'

/**
 * A boot sector that powers the machine off when its power button is pressed. Fixed hardware of ACPI (specification 6.5,
 * 4.8.3) where SeaBIOS puts it on q35: PM1 status 0x600, enable 0x602, control 0x604. Says "R" on COM1 once it listens.
 */
function obedientDisk(): Buffer {
  const image = bootDisk()
  image.fill(0, 0, 440)
  Buffer.from([
    ...[0xfa], // cli
    ...[0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef], // enable: power button
    ...[0xba, 0xf8, 0x03, 0xb0, 0x52, 0xee], // "R" to COM1
    ...[0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xfa], // until status says it was pressed
    ...[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef], // control: sleep state S5
    ...[0xf4, 0xeb, 0xfd],
  ]).copy(image)
  return image
}

const listens = (id: string) => {
  const history = now.supervisor.serialHub(id)?.history()
  return history === undefined ? '' : Buffer.concat([history.head, history.tail]).toString('latin1')
}
const view = (id: string) => now.engine.vms.view(ANN, id)

it('a guest that obeys is off for a moment and runs again with its new definition', async () => {
  const image = await upload(ANN, obedientDisk())
  const disks = [{ device: 'disk', image: image.id }]
  const { id } = await create(ANN, { name: 'web', memoryMiB: 64, firmware: 'bios', disks })
  await expect(now.engine.vms.restart(ANN, id)).rejects.toMatchObject({ code: 'wrong_state' })
  await now.engine.vms.start(ANN, id)
  await expect(now.engine.vms.restart(EYE, id)).rejects.toMatchObject({ code: 'forbidden' })
  await until(
    () => listens(id),
    (text) => text.includes('R'),
  )
  const before = (await view(id)).live?.pid
  expect((await update(ANN, id, { memoryMiB: 96 })).pending).toHaveLength(1)
  expect((await now.engine.vms.restart(ANN, id)).state).toMatch(/^(stopping|off)$/)
  const after = await until(
    () => view(id),
    (vm) => vm.state === 'running' && vm.live?.pid !== before,
  )
  expect(after).toMatchObject({ pending: [], live: { memoryMiB: 96 }, lastExit: { kind: 'operator', by: 'ann' } })
  const lines = (await now.engine.vms.activity(ADMIN, id, { limit: 3 })).items.map(({ what, result }) => [what, result])
  expect(lines[0]).toEqual(['vmStart', 'ok'])
  expect(lines).toContainEqual(['vmRestart', 'ok'])
  // It is over: an end that nobody asked to be followed by a start stays one.
  await now.engine.vms.poweroff(ANN, id)
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect((await view(id)).state).toBe('off')
})

it('whoever cuts the power of a guest that is waited for is obeyed', async () => {
  const { id } = await create(ANN, { name: 'deaf', memoryMiB: 64, firmware: 'bios', disks: [] })
  await now.engine.vms.start(ANN, id)
  expect((await now.engine.vms.restart(ANN, id)).state).toBe('stopping')
  expect((await now.engine.vms.poweroff(ANN, id)).state).toBe('off')
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect((await view(id)).state).toBe('off')
})
