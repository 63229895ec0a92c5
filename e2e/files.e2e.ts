/** Looking into images: files of a disk, and what an OVA described. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { ovf, tar } from '#server/interop/ova/testing/forge.ts'
import { findFileTools } from '#server/small-system/tools.ts'
import { findProgram } from '#server/storage/sandbox.ts'
import { DESKTOP, isAccessible } from './support/accessible.ts'
import { expect, test } from './support/fixtures.ts'

const upload = async (page: Page, path: string) => {
  await page.goto('/images')
  await page.locator('input[type=file]').first().setInputFiles(path)
}

test('files of an image are walked by keyboard and saved whole; what is hostile in them is only shown', async ({
  adminPage: page,
}) => {
  test.setTimeout(240_000)
  const dir = mkdtempSync(join(tmpdir(), 'gd-e2e-files-'))
  try {
    const tree = join(dir, 'tree')
    mkdirSync(join(tree, 'etc'), { recursive: true })
    mkdirSync(join(tree, 'usr/lib'), { recursive: true })
    writeFileSync(join(tree, 'usr/lib/os-release'), 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n')
    writeFileSync(join(tree, 'etc/motd'), 'Welcome.\n')
    writeFileSync(join(tree, '<img src=x onerror=alert(1)>'), 'x')
    symlinkSync('/etc/shadow', join(tree, 'link'))
    const image = join(dir, 'root.img')
    execFileSync('/sbin/mke2fs', ['-q', '-F', '-t', 'ext4', '-L', 'system', '-d', tree, image, '8M'])
    await page.setViewportSize(DESKTOP)
    await upload(page, image)
    await expect(page.getByText('Debian GNU/Linux 12').first()).toBeVisible({ timeout: 60_000 })
    await page.getByRole('button', { name: 'Details of root.img' }).click()
    await page.getByRole('link', { name: 'Look at the files of root.img' }).click()
    await expect(page.getByRole('heading', { name: 'Files of root.img', level: 1 })).toBeVisible()
    await expect(page.getByText('<img src=x onerror=alert(1)>')).toBeVisible()
    await expect(page.getByText('Points to /etc/shadow; it is not followed')).toBeVisible()
    await isAccessible(page)
    await page.getByRole('link', { name: 'Open etc' }).press('Enter')
    await expect(page).toHaveURL(/path=%2Fetc/)
    const saving = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Save motd' }).click()
    const saved = await saving
    expect(saved.suggestedFilename()).toBe('motd')
    expect(readFileSync(await saved.path(), 'utf8')).toBe('Welcome.\n')
    await page.getByRole('link', { name: 'One folder up' }).focus()
    await page.keyboard.press('Backspace')
    await expect(page.getByRole('link', { name: 'Open usr' })).toBeVisible()
    await page.goto('/files?image=01890000-0000-7000-8000-0000000000ff')
    await expect(page.getByRole('alert').first()).toContainText('There is no such image')
    await page.goto('/files')
    await expect(page.getByText('There is nothing to look at here.')).toBeVisible()
    await isAccessible(page)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

const { problem } = findFileTools()
const LACK = problem ?? (findProgram('mkfs.xfs') === null ? 'mkfs.xfs (xfsprogs) is not installed.' : null)

test(`a disk with XFS is opened by libguestfs once asked for, shown while it starts, given up, and walked like any other${LACK === null ? '' : `: left out: ${LACK}`}`, async ({
  adminPage: page,
}) => {
  test.skip(LACK !== null)
  test.setTimeout(400_000)
  const dir = mkdtempSync(join(tmpdir(), 'gd-e2e-xfs-'))
  try {
    const disk = join(dir, 'xfs.img')
    writeFileSync(join(dir, 'notes'), 'Read by libguestfs.\n')
    // The second line is not used; then a tree: names, types and modes, files by where they are taken from.
    const tree = `/boot\n0 0\nd--755 0 0\nhome d--755 0 0\nnotes ---644 0 0 ${join(dir, 'notes')}\n$\n$\n`
    writeFileSync(join(dir, 'tree'), tree)
    writeFileSync(disk, '')
    truncateSync(disk, 320 * 2 ** 20)
    execFileSync('/sbin/mkfs.xfs', ['-q', '-p', join(dir, 'tree'), disk])
    execFileSync('gzip', ['-1', disk])
    await page.setViewportSize(DESKTOP)
    await upload(page, `${disk}.gz`)
    await page.getByRole('button', { name: /^Details of xfs/ }).click({ timeout: 60_000 })
    await page.getByRole('link', { name: /^Look at the files of xfs/ }).click()
    await page.getByRole('button', { name: 'Cancel' }).press('Enter', { timeout: 30_000 })
    await expect(page.getByText('This part was not opened.')).toBeVisible()
    await page.getByRole('button', { name: 'Open it' }).press('Enter')
    await expect(page.getByText(/libguestfs (makes|starts) its small system/)).toBeVisible()
    await expect(page.getByRole('link', { name: 'Open home' })).toBeVisible({ timeout: 240_000 })
    await isAccessible(page)
    await page.getByRole('link', { name: 'Open home' }).press('Enter')
    const saving = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Save notes' }).click()
    expect(readFileSync(await (await saving).path(), 'utf8')).toBe('Read by libguestfs.\n')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('an OVA says what became of it, and fills the create page', async ({ adminPage: page, api }) => {
  test.setTimeout(240_000)
  const dir = mkdtempSync(join(tmpdir(), 'gd-e2e-ova-'))
  try {
    const raw = join(dir, 'raw')
    const disk = Buffer.alloc(2 ** 20)
    disk.writeUInt16LE(0xaa55, 510)
    writeFileSync(raw, disk)
    const vmdk = join(dir, 'disk.vmdk')
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', raw, vmdk])
    const ova = join(dir, 'box.ova')
    writeFileSync(
      ova,
      tar([
        { name: 'box.ovf', content: ovf() },
        { name: 'disk.vmdk', content: readFileSync(vmdk) },
      ]),
    )
    await page.setViewportSize(DESKTOP)
    await upload(page, ova)
    const report = page.getByRole('dialog', { name: 'What became of box.ova' })
    await expect(report).toBeVisible({ timeout: 90_000 })
    await expect(report.getByText('Dropped').first()).toBeVisible()
    await isAccessible(page)
    await report.getByRole('link', { name: 'Create VM' }).click()
    await expect(page.getByText('This page is filled from the appliance box.ova.')).toBeVisible()
    await expect(page.getByRole('button', { name: 'Create', exact: true })).toBeEnabled()
    await isAccessible(page)
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await expect.poll(async () => (await api.vms()).length, { timeout: 30_000 }).toBe(1)
    const [vm] = await api.vms()
    expect(vm?.spec.cpus).toBe(2)
    await page.goto('/images')
    await page.getByRole('button', { name: 'Forget box.ova?' }).click()
    await page.getByRole('button', { name: 'Forget', exact: true }).click()
    await expect(page.getByText('box.ova is forgotten').first()).toBeVisible()
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
