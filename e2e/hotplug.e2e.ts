import type { VmSpec, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { GuestShell } from './guests/guest-shell.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'

const VM = 'growing guest'
const MINUTES = 60_000
/** A guest under TCG on a busy machine takes its time to take a device into use, or to let go of it. */
const SETTLE = { timeout: 60_000 }

const MEMORY_MIB = "awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo"
/** Written through to the disk, and read back from there. */
const WRITE_AND_READ = [
  'dd if=/dev/urandom of=/tmp/pattern bs=64k count=16 2>/dev/null',
  'dd if=/tmp/pattern of=/dev/vda bs=64k conv=fsync 2>/dev/null',
  'echo 3 >/proc/sys/vm/drop_caches',
  'dd if=/dev/vda bs=64k count=16 2>/dev/null | cmp - /tmp/pattern && echo the same',
].join(' && ')

test('a running guest gets a disk, a network card, a CPU and memory, and says so itself', async ({
  adminPage: page,
  api,
}) => {
  test.setTimeout(6 * MINUTES)
  const { id } = await api.startDeviceGuest(VM, {
    memoryMiB: 1024,
    memoryMaxMiB: 4096,
    maxCpus: 2,
    virtioMem: { sizeMiB: 1024, requestedMiB: 0 },
  })
  const shell = await GuestShell.over(await GuestLine.open(api, id))
  const spec = async (): Promise<VmSpec> => (await api.vm(id)).spec
  const change = (patch: VmSpecPatch) => api.send('PATCH', `/vms/${id}`, patch)
  const devices = page.getByRole('region', { name: 'Devices' })

  await page.goto(`/vms/${id}`)
  expect((await shell.run('ls /sys/block | grep -c ^vd')).output).toBe('0')
  expect(await shell.output('ls /sys/class/net')).toBe('lo')
  expect(await shell.output('nproc')).toBe('1')
  const before = Number(await shell.output(MEMORY_MIB))
  expect(before).toBeGreaterThan(800)

  await test.step('a disk: the guest sees its size, writes to it and reads back what it wrote', async () => {
    await change({ disks: [...(await spec()).disks, { device: 'disk', sizeGiB: 2 }] })
    await shell.until('cat /sys/block/vda/size', /^4194304$/)
    expect(await shell.output(WRITE_AND_READ)).toBe('the same')
    await expect(devices.getByText('2 GiB')).toBeVisible()
  })

  await test.step('a network card: the guest brings it up and gets an address', async () => {
    await change({ networks: [{}] })
    await shell.until('ip -o -4 address show dev eth0', /inet 10\.0\.2\.15\//)
    const [card] = (await spec()).networks
    expect(await shell.output('cat /sys/class/net/eth0/address /sys/class/net/eth0/carrier')).toBe(`${card?.mac}\n1`)
    await expect(devices.getByText(card?.mac ?? '')).toBeVisible()
  })

  await test.step('a CPU: the guest computes with two', async () => {
    await change({ cpus: 2 })
    await shell.until('nproc', /^2$/)
  })

  await test.step('memory: the guest has what was given to it', async () => {
    await change({ virtioMem: { sizeMiB: 1024, requestedMiB: 512 } })
    const grown = async () => Number(await shell.output(MEMORY_MIB)) - before
    await expect.poll(grown, SETTLE).toBe(512)
  })

  await test.step('a cable that is pulled: the guest has no carrier', async () => {
    const [card] = (await spec()).networks
    await change({ networks: [{ ...card, link: false }] })
    await shell.until('cat /sys/class/net/eth0/carrier', /^0$/)
  })

  await test.step('the disk taken away: it is gone for the guest, and on the page', async () => {
    await change({ disks: (await spec()).disks.filter(({ device }) => device === 'cdrom') })
    await shell.until('ls /sys/block | grep -c ^vd', /^0$/)
    await expect(devices.getByText('2 GiB')).toBeHidden(SETTLE)
    await expect.poll(async () => (await api.vm(id)).pending, SETTLE).toEqual([])
  })

  await test.step('a CPU taken away, which emulation cannot do: the guest keeps it, and nobody claims otherwise', async () => {
    await change({ cpus: 1 })
    await expect(page.getByText('1 change waits for a restart')).toBeVisible()
    const { pending, live } = await api.vm(id)
    expect(pending).toMatchObject([{ path: '/cpus', live: 2, next: 1, waiting: 'restart' }])
    expect(pending[0]?.reason).toMatch(/emulation/)
    expect(live?.vcpus).toBe(2)
    expect(await shell.output('nproc')).toBe('2')
  })
  shell.close()
})
