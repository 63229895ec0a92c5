/** Everything that brings an image in, in a browser: dropped files, an address, the catalogue; a mirror on loopback. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { ensureGuestIso } from '#e2e/guests/build.ts'
import { violations } from './support/accessible.ts'
import { test as base, expect } from './support/fixtures.ts'
import { Dashboard } from './support/server.ts'

const MiB = 2 ** 20
const ALPINE = '/dl-cdn.alpinelinux.org/alpine/latest-stable/releases/x86_64'
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

class Mirror {
  readonly files = new Map<string, Buffer>()
  /** Ranges asked for, by path; null for all of it. */
  readonly asked: [string, string | null][] = []
  /** Paths whose first answer ends in the middle. */
  readonly breaks = new Set<string>()
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }
  static async start(): Promise<Mirror> {
    const server = createServer((request, response) => mirror.#answer(request, response))
    const mirror = new Mirror(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return mirror
  }
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }
  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? ''
    const bytes = this.files.get(path)
    if (bytes === undefined) return void response.writeHead(404).end()
    const etag = `"${sha256(bytes)}"`
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
    const from = range === null ? 0 : Number(range[1])
    response.writeHead(range === null ? 200 : 206, {
      ...{ etag, 'accept-ranges': 'bytes', 'content-length': bytes.length - from },
      ...(range !== null && { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    })
    if (request.method === 'HEAD') return void response.end()
    this.asked.push([path, request.headers.range ?? null])
    if (this.breaks.delete(path)) {
      response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy())
      return
    }
    response.end(bytes.subarray(from))
  }
  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const test = base.extend<object, { mirror: Mirror; dashboard: Dashboard }>({
  mirror: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright takes the fixtures used from the destructured parameter
    async ({}, use) => {
      const mirror = await Mirror.start()
      await use(mirror)
      await mirror.stop()
    },
    { scope: 'worker' },
  ],
  dashboard: [
    async ({ mirror }, use) => {
      const dashboard = await Dashboard.start({ env: { GUESTDECK_CATALOGUE_MIRROR: mirror.url } })
      await use(dashboard)
      await dashboard.dispose()
    },
    { scope: 'worker', timeout: 90_000 },
  ],
})

/** A raw disk with a boot sector that halts. */
function disk(sizeBytes: number, fill: number): Buffer {
  const image = Buffer.alloc(sizeBytes, fill)
  image.set([0xf4, 0xeb, 0xfd])
  image.set([0x55, 0xaa], 510)
  return image
}

/** Files dragged from a desktop: the page makes them, the browser delivers them. */
async function drop(page: Page, files: { name: string; sizeBytes: number; fill: number; lastModified: number }[]) {
  const transfer = await page.evaluateHandle((wanted) => {
    const data = new DataTransfer()
    for (const { name, sizeBytes, fill, lastModified } of wanted) {
      const bytes = new Uint8Array(sizeBytes).fill(fill)
      bytes.set([0xf4, 0xeb, 0xfd])
      bytes.set([0x55, 0xaa], 510)
      data.items.add(new File([bytes], name, { lastModified }))
    }
    return data
  }, files)
  await page.dispatchEvent('main', 'dragover', { dataTransfer: transfer })
  await expect(page.getByText('Let go to upload')).toBeVisible()
  await page.dispatchEvent('main', 'drop', { dataTransfer: transfer })
}

test.beforeEach(() => test.setTimeout(240_000))
test.afterEach(async ({ api }) => {
  await api.removeAll()
  for (const { id } of (await api.call<{ items: { id: string }[] }>('GET', '/images')).items)
    await api.call('DELETE', `/images/${id}`)
})

test('two files are dropped; one is paused, outlives a reload of the page, and goes on where it stood', async ({
  adminPage: page,
  api,
}) => {
  const dir = mkdtempSync(join(tmpdir(), 'gd-drop-'))
  try {
    const lastModified = 1_700_000_000_000
    const bytes = disk(48 * MiB, 0x5a)
    const path = join(dir, 'one.img')
    writeFileSync(path, bytes)
    utimesSync(path, lastModified / 1000, lastModified / 1000)
    await page.goto('/images')
    await expect(page.getByText('The library is empty')).toBeVisible()
    // A slow line, so that there is something to pause.
    const network = await page.context().newCDPSession(page)
    const line = { offline: false, latency: 0, downloadThroughput: -1 }
    await network.send('Network.emulateNetworkConditions', { ...line, uploadThroughput: 4 * MiB })
    await drop(page, [
      { name: 'one.img', sizeBytes: bytes.length, fill: 0x5a, lastModified },
      { name: 'two.img', sizeBytes: MiB, fill: 0x11, lastModified },
    ])
    await expect(page.getByText(/ of 48\sMiB · .*\/s · .* left/)).toBeVisible()
    await page.getByRole('button', { name: 'Pause one.img' }).click()
    await expect(page.getByText(/^paused at /)).toBeVisible()
    await expect(page.getByRole('button', { name: 'Details of two.img' })).toBeVisible({ timeout: 30_000 })
    await page.getByRole('button', { name: 'Go on with one.img' }).click()
    await expect(page.getByText(/ of 48\sMiB · .*\/s · .* left/)).toBeVisible()

    page.once('dialog', (dialog) => void dialog.accept())
    await page.reload()
    const unfinished = page.getByRole('region', { name: 'Unfinished uploads' })
    await expect(unfinished.getByText('one.img', { exact: true })).toBeVisible()
    const { items } = await api.call<{ items: { offsetBytes: number }[] }>('GET', '/images/uploads')
    expect(items[0]?.offsetBytes).toBeGreaterThan(0)
    expect(items[0]?.offsetBytes).toBeLessThan(bytes.length)
    await network.send('Network.emulateNetworkConditions', { ...line, uploadThroughput: -1 })

    // Another file of that name is not mistaken for it.
    const other = join(dir, 'other.img')
    writeFileSync(other, disk(MiB, 1))
    const choose = unfinished.locator('input[type=file]')
    await choose.setInputFiles(other)
    await expect(page.getByText('That is not one.img').first()).toBeVisible()
    await choose.setInputFiles(path)
    await expect(page.getByRole('button', { name: 'Details of one.img' })).toBeVisible({ timeout: 60_000 })
    await expect(unfinished).toBeHidden()
    await page.getByRole('button', { name: 'Details of one.img' }).click()
    const details = page.getByRole('dialog', { name: 'Details of one.img' })
    await expect(details.getByText(sha256(bytes))).toBeVisible()
    await details.getByLabel('Description').fill('For the lab')
    await details.getByLabel('Name in the library').fill('lab disk')
    await details.getByRole('button', { name: 'Save', exact: true }).click()
    await expect(page.getByRole('button', { name: 'Details of lab disk' })).toBeVisible()

    // What the door refuses comes back with its reason, and the reason outlives the toast and the page.
    const text = join(dir, 'notes.txt')
    writeFileSync(text, 'no disk at all')
    await page.locator('#upload input[type=file]').first().setInputFiles(text)
    const refusal = page.getByText(/^notes\.txt was not uploaded\. This is neither an ISO image/)
    await expect(refusal).toBeVisible()
    await expect(page.getByRole('alert').filter({ hasText: 'This is neither an ISO image' })).toBeAttached()
    await page.reload()
    await expect(refusal).toBeVisible()
    await page.getByRole('button', { name: 'Dismiss: notes.txt' }).click()
    await expect(refusal).toBeHidden()

    // Found by what was written about it; the filter is in the address.
    await page.getByRole('searchbox', { name: 'Find an image' }).fill('for the LAB')
    await expect(page.getByRole('button', { name: 'Details of two.img' })).toBeHidden()
    expect(page.url()).toContain('q=')
    await page.reload()
    await expect(page.getByRole('button', { name: 'Details of lab disk' })).toBeVisible()
    await expect(page.getByRole('button', { name: 'Details of two.img' })).toBeHidden()
    expect(await violations(page, { only: 'all' })).toEqual([])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('an image is looked at and downloaded by its address, over a connection that breaks in the middle', async ({
  adminPage: page,
  mirror,
}) => {
  const bytes = disk(16 * MiB, 0x42)
  mirror.files.set('/far.img', bytes)
  mirror.files.set('/SHA256SUMS', Buffer.from(`${sha256(bytes)}  far.img\n${'0'.repeat(64)}  near.img\n`))
  mirror.breaks.add('/far.img')
  await page.goto('/images')
  await page.getByRole('button', { name: 'Download', exact: true }).click()
  expect(page.url()).toContain('panel=download')
  const dialog = page.getByRole('dialog', { name: 'Download by address' })
  await dialog.getByLabel('Address').fill('http://127.0.0.1:9/x.img')
  await dialog.getByRole('button', { name: 'Download', exact: true }).click()
  await expect(dialog.getByText(/is not downloaded from: it is this machine/)).toBeVisible()
  await dialog.getByLabel('Address').fill(`${mirror.url}/far.img`)
  await dialog.getByLabel('Checksum').fill(`${mirror.url}/SHA256SUMS`)
  await dialog.getByRole('button', { name: 'Look first' }).click()
  await expect(dialog.getByText(sha256(bytes))).toBeVisible()
  await expect(dialog.getByText('goes on where it ended')).toBeVisible()
  expect(await violations(page, { only: 'all' })).toEqual([])
  await dialog.getByRole('button', { name: 'Download', exact: true }).click()
  await expect(dialog).toBeHidden()
  await expect(page.getByRole('button', { name: 'Details of far.img' })).toBeVisible({ timeout: 60_000 })
  const ranges = mirror.asked.filter(([path]) => path === '/far.img').map(([, range]) => range)
  expect(ranges).toEqual([null, expect.stringMatching(/^bytes=[1-9]\d+-$/)])
})

test('from an entry of the catalogue to a running guest in one sitting', async ({ adminPage: page, api, mirror }) => {
  const iso = readFileSync(await ensureGuestIso())
  const name = 'alpine-virt-3.99.1-x86_64.iso'
  mirror.files.set(`${ALPINE}/${name}`, iso)
  mirror.files.set(
    `${ALPINE}/latest-releases.yaml`,
    Buffer.from(`---\n-\n  title: "Virtual"\n  flavor: alpine-virt\n  file: ${name}\n  sha256: ${sha256(iso)}\n`),
  )
  await page.goto('/vms/new')
  await page.getByRole('button', { name: 'Catalogue' }).click({ timeout: 60_000 })
  const dialog = page.getByRole('dialog', { name: 'Catalogue' })
  await dialog.getByRole('searchbox', { name: 'Find a system' }).fill('alpine virtual')
  expect(await violations(page, { only: 'all' })).toEqual([])
  await dialog.getByRole('button', { name: 'Get Alpine Linux, for virtual machines' }).click()
  await expect(dialog).toBeHidden()
  await expect(page.getByRole('radio', { name: 'alpine-virt.iso' })).toBeChecked({ timeout: 60_000 })
  await page.getByLabel('Name', { exact: true }).fill('from the catalogue')
  await page.getByRole('spinbutton', { name: 'Memory' }).fill('512')
  await page.getByRole('button', { name: 'Create and start' }).click()
  await page.waitForURL(/\/vms\/[0-9a-f-]{36}\/console/)
  await expect.poll(async () => (await api.vms())[0]?.state, { timeout: 60_000 }).toBe('running')
  await page.goto('/images')
  await page.getByRole('button', { name: 'Catalogue' }).click()
  const entry = page
    .getByRole('dialog', { name: 'Catalogue' })
    .getByRole('listitem')
    .filter({ hasText: 'for virtual machines' })
  await expect(entry.filter({ hasText: 'Alpine' }).getByText('in the library')).toBeVisible()
})
