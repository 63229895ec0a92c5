/** A pool that runs full under a guest: told, explained where the guest is, and gone on when there is room. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import type { Pool } from '#lib/schema/storage.ts'
import { isAccessible } from './support/accessible.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'

const LONG = { timeout: 120_000 }

test('a full pool pauses its guest, which says why on each of its pages and goes on when there is room', async ({
  adminPage: page,
  api,
}) => {
  test.skip(process.getuid?.() !== 0, 'mounts a small file system')
  test.setTimeout(400_000)
  const root = join(api.dashboard.poolsDir, 'tiny')
  mkdirSync(root)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=0755', 'tmpfs', root])
  try {
    const pool = await api.call<Pool>('POST', '/pools', { name: 'tiny', path: root, reserveBytes: 0 })
    const disks = [{ device: 'disk' as const, sizeGiB: 1, pool: pool.id }]
    const vm = await api.startDeviceGuest('writer', { disks })
    const shell = await GuestShell.over(await GuestLine.open(api, vm.id))
    // Whole blocks: out of a pipe dd would count each short read as one.
    await shell.output(
      '(tr "\\0" x </dev/zero | dd of=/dev/vda bs=1M count=60 iflag=fullblock conv=fsync 2>/dev/null; echo $? >/tmp/done) >/dev/null 2>&1 &',
    )
    await expect.poll(async () => (await api.vm(vm.id)).diskPause !== undefined, LONG).toBe(true)
    await page.goto(`/vms/${vm.id}/console`)
    const why = page.getByRole('region', { name: 'Why the guest is paused' })
    await expect(why).toContainText('the storage pool tiny is full')
    await expect(why.getByRole('button', { name: 'Keep it paused' })).toBeVisible()
    await page.goto(`/vms/${vm.id}`)
    await expect(why.getByRole('button', { name: 'Resume' })).toBeVisible()
    await isAccessible(page)
    await page.goto('/storage')
    await expect(page.getByText('writer is paused by its disks')).toBeVisible()
    await isAccessible(page)
    await page.goto('/')
    await expect(page.getByText('writer is paused', { exact: true })).toBeVisible()

    await page.goto(`/vms/${vm.id}`)
    execFileSync('mount', ['-o', 'remount,size=160m', root])
    await expect(why).toBeHidden(LONG)
    await shell.until('cat /tmp/done', /^0$/, 120_000)
    await api.send('POST', `/vms/${vm.id}/poweroff`)
    await api.reached(vm.id, 'off')
    await api.send('DELETE', `/vms/${vm.id}`)
    await api.send('POST', '/volumes/empty-trash')
    await api.send('DELETE', `/pools/${pool.id}`)
  } finally {
    execFileSync('umount', ['-l', root])
    rmSync(root, { recursive: true, force: true })
  }
})
