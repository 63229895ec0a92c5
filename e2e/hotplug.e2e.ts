import { GuestShell } from './guests/guest-shell.ts'
import { DevicesPage } from './support/devices-page.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'

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

test('a running guest gets a disk, a network card, a CPU and memory from the page, and says so itself', async ({
  adminPage,
  api,
}) => {
  test.setTimeout(6 * MINUTES)
  const { id } = await api.startDeviceGuest('growing guest', {
    memoryMiB: 1024,
    memoryMaxMiB: 4096,
    maxCpus: 2,
    virtioMem: { sizeMiB: 1024, requestedMiB: 0 },
  })
  const page = new DevicesPage(adminPage, id)
  await page.open()
  const shell = await GuestShell.over(await GuestLine.open(api, id))
  expect((await shell.run('ls /sys/block | grep -c ^vd')).output).toBe('0')
  expect(await shell.output('ls /sys/class/net')).toBe('lo')
  expect(await shell.output('nproc')).toBe('1')
  const before = Number(await shell.output(MEMORY_MIB))
  expect(before).toBeGreaterThan(800)

  await test.step('a disk: the guest sees its size, writes to it and reads back what it wrote', async () => {
    await page.add('Disk', 'Add a disk', 'disk0', async (form) => {
      const size = form.getByRole('spinbutton', { name: /^Size of / })
      // A size is proposed a moment after the form is there.
      await expect(size).not.toHaveValue('')
      await size.fill('2')
      await expect(size).toHaveValue('2')
    })
    await expect(page.row('disk0')).toContainText(/\b2 GiB\b/)
    await expect(page.row('disk0')).toContainText('Running')
    await shell.until('cat /sys/block/vda/size', /^4194304$/)
    expect(await shell.output(WRITE_AND_READ)).toBe('the same')
  })

  await test.step('a network card: the guest brings it up and gets an address', async () => {
    await page.add('Network card', 'Add a network card', 'net0')
    await expect(page.row('net0')).toContainText('Running')
    await shell.until('ip -o -4 address show dev eth0', /inet 10\.0\.2\.15\//)
    await expect(page.row('net0')).toContainText(await shell.output('cat /sys/class/net/eth0/address'))
    expect(await shell.output('cat /sys/class/net/eth0/carrier')).toBe('1')
  })

  await test.step('a CPU: the guest computes with two', async () => {
    await page.cpus.fill('2')
    await expect(page.whileItRuns.getByText('2 of 2 are plugged in.')).toBeVisible(SETTLE)
    await shell.until('nproc', /^2$/)
  })

  await test.step('memory: the guest has what was given to it', async () => {
    await page.virtioMem.fill('512')
    const grown = async () => Number(await shell.output(MEMORY_MIB)) - before
    await expect.poll(grown, SETTLE).toBeGreaterThan(500)
    await expect(page.whileItRuns.getByText('512 MiB of 1 GiB asked for; the guest has 1.5 GiB in all.')).toBeVisible(
      SETTLE,
    )
  })

  await test.step('a cable that is pulled: the guest has no carrier', async () => {
    await page.cable('net0').click()
    await expect(page.cable('net0')).not.toBeChecked(SETTLE)
    await expect(page.row('net0')).toContainText('cable unplugged')
    await shell.until('cat /sys/class/net/eth0/carrier', /^0$/)
  })

  await test.step('the disk taken away: it is gone for the guest, and then from the page', async () => {
    await page.remove('disk0')
    await expect(page.row('disk0')).toHaveCount(0, SETTLE)
    expect((await shell.run('ls /sys/block | grep -c ^vd')).output).toBe('0')
    expect((await api.vm(id)).pending).toEqual([])
  })

  await test.step('a CPU taken away, which emulation cannot do: it stays, and the page says what it waits for', async () => {
    await page.cpus.fill('1')
    await expect(page.whileItRuns.getByText(/^Waits for a restart: .* emulation /)).toBeVisible(SETTLE)
    await expect(page.whileItRuns.getByText('2 of 2 are plugged in.')).toBeVisible()
    expect(await shell.output('nproc')).toBe('2')
    const { pending, live } = await api.vm(id)
    expect(pending).toMatchObject([{ path: '/cpus', live: 2, next: 1, waiting: 'restart' }])
    expect(live?.vcpus).toBe(2)
  })
  shell.close()
})
