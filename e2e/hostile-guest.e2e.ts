/** A guest that means ill, and what its consoles do to whoever looks at them in a browser: nothing. */
import { once } from 'node:events'
import { chmodSync, renameSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import type { Page } from '@playwright/test'
import { API_BASE } from '#lib/api/contract.ts'
import type { Image } from '#lib/schema/image.ts'
import { vmRunPaths } from '#server/paths.ts'
import type { Api } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'
import { Terminal } from './support/terminal.ts'

const VM = 'hostile'
const MINE = 'what I copied myself'
const MiB = 2 ** 20
const FLOOD = '\x01'
/**
 * Says back every byte that comes on COM1; on a 1 it says a MiB of `x` without a line end, each when the last is taken.
 * Starts in 16 bits.
 */
const PROGRAM = [
  ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xec, 0x3c, 0x01, 0x74, 0x03, 0xee, 0xeb, 0xed],
  // mov bx, 16; xor cx, cx
  ...[0xbb, 0x10, 0x00, 0x31, 0xc9],
  // mov dx, 0x3fd; in al, dx; test al, 0x20; jz -5; mov dx, 0x3f8; mov al, 'x'; out dx, al; loop -16; dec bx; jnz -19
  ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xb0, 0x78, 0xee, 0xe2, 0xf0, 0x4b, 0x75, 0xed],
  // jmp to the start
  ...[0xeb, 0xd3],
]
const osc = (text: string) => `\x1b]${text}\x07`
const TRICKS = [
  ...[osc(`52;c;${Buffer.from('evil').toString('base64')}`), osc('52;c;?'), osc('52;p;ZXZpbA==')],
  ...[
    osc('0;evil'),
    osc('2;evil'),
    '\x1b]2;evil\x1b\\',
    osc('9;evil'),
    osc('777;notify;evil;evil'),
    osc('1337;File=:ZQ=='),
  ],
  ...['\x1b[c', '\x1b[5n', '\x1b[6n', '\x1b[18t', '\x1b[21t', '\x1bP$q"p\x1b\\', osc('11;?'), osc('4;1;?')],
  ...[osc('8;;http://127.0.0.1:9/evil'), 'click-me', osc('8;;'), '\r\n', '\x07'.repeat(50)],
].join('')

async function hostileGuest(api: Api) {
  const disk = Buffer.alloc(MiB)
  disk.set(PROGRAM)
  disk.set([0x55, 0xaa], 510)
  const answer = await fetch(`${api.dashboard.url}${API_BASE}/images/upload?name=hostile.img`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/octet-stream' },
    body: new Uint8Array(disk),
  })
  expect(answer.ok).toBe(true)
  const image = (await answer.json()) as Image
  const vm = await api.createVm({
    ...{ name: VM, memoryMiB: 32, cpus: 1, networks: [], firmware: 'bios', clipboard: true },
    disks: [{ device: 'disk', image: image.id, bus: 'sata' }],
  })
  await api.start(vm.id)
  return { vm, image }
}

/** What the page holds, once nothing is left that nobody needs. */
async function heapBytes(page: Page): Promise<number> {
  const tools = await page.context().newCDPSession(page)
  await tools.send('HeapProfiler.collectGarbage')
  const { usedSize } = await tools.send('Runtime.getHeapUsage')
  await tools.detach()
  return usedSize
}

test('what a guest writes to its terminal, and what it copies, does nothing to who looks: no clipboard, no title, no answer, no link, no end of memory (W09, W11)', async ({
  adminPage: page,
  api,
}) => {
  test.setTimeout(240_000)
  const { vm, image } = await hostileGuest(api)
  const line = await GuestLine.open(api, vm.id)
  const echo = async (text: string) => {
    const from = line.text.length
    line.send(text)
    await expect.poll(() => line.text.length - from, { timeout: 60_000 }).toBeGreaterThanOrEqual(text.length)
  }
  await expect
    .poll(
      () => {
        line.send('?')
        return line.text.includes('?')
      },
      { timeout: 60_000, message: 'the guest answers' },
    )
    .toBe(true)

  const happened: string[] = []
  page.on('dialog', (dialog) => {
    happened.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.context().on('page', (opened) => happened.push(`window: ${opened.url()}`))
  page.on('pageerror', (error) => happened.push(`fault: ${error.message}`))
  const typed: string[] = []
  page.on('websocket', (socket) => {
    if (socket.url().includes(`${vm.id}/console/serial`))
      socket.on('framesent', ({ payload }) => typeof payload !== 'string' && typed.push(payload.toString('latin1')))
  })
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.goto(`/vms/${vm.id}/console`)
  await page.getByRole('button', { name: 'Serial', exact: true }).click()
  const terminal = new Terminal(page, VM)
  await expect(terminal.line('?')).toBeVisible({ timeout: 60_000 })
  await page.evaluate((text) => navigator.clipboard.writeText(text), MINE)
  const title = `${VM} · Guestdeck`
  await expect(page).toHaveTitle(title)
  const isUntouched = async () => {
    expect(happened).toEqual([])
    expect(await page.title()).toBe(title)
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(MINE)
    expect(page.url()).toContain(`/vms/${vm.id}/console`)
  }

  await test.step('to somebody in control', async () => {
    await echo(`${TRICKS}after the first\r\n`)
    await expect(terminal.line('after the first')).toBeVisible()
    const link = await terminal.line('click-me').boundingBox()
    if (link === null) throw new Error('the text of the link is not shown')
    await page.mouse.move(link.x + 20, link.y + link.height / 2, { steps: 5 })
    await page.mouse.down()
    await page.mouse.up()
    await isUntouched()
    // That programs need: the same listener sees it, so what is not seen below is not there.
    expect(typed.join('')).toMatch(/\x1b\[\?[\d;]+c/)
    expect(typed.join('')).not.toMatch(/\x1b\](?:52|l|L)|evil|\x1b\[[\d;]*t/)
  })

  await test.step('to somebody who watches: not even an answer', async () => {
    await page.getByRole('switch', { name: 'Control' }).click()
    await expect(page.getByRole('switch', { name: 'Control' })).not.toBeChecked()
    await expect(terminal.line('after the first')).toBeVisible()
    typed.length = 0
    await echo(`${TRICKS}after the second\r\n`)
    await expect(terminal.line('after the second')).toBeVisible()
    await isUntouched()
    expect(typed).toEqual([])
  })

  await test.step('a line without end leaves memory bounded and the page at work', async () => {
    const before = await heapBytes(page)
    const from = line.text.length
    line.send(FLOOD)
    await expect.poll(() => line.text.length - from, { timeout: 90_000 }).toBeGreaterThan(0.9 * MiB)
    await echo('\r\nafter the flood\r\n')
    await expect(terminal.line('after the flood')).toBeVisible({ timeout: 30_000 })
    expect((await heapBytes(page)) - before).toBeLessThan(48 * MiB)
    await page.getByRole('button', { name: 'Clear', exact: true }).click()
    await expect(terminal.line('xxxx')).toHaveCount(0)
    await isUntouched()
  })

  await test.step('ten megabytes on its clipboard are one of plain text, in a field and nowhere else', async () => {
    const path = vmRunPaths(api.dashboard.runDir, vm.id).vnc
    renameSync(path, `${path}.real`)
    const cutText = `<img src=x onerror="document.title='evil'">\x1b[201~\x07 ${'y'.repeat(10 * MiB)}`
    const server = createServer((socket) => void serveCutText(socket, cutText)).listen(path)
    await once(server, 'listening')
    // As QEMU's own: for the group of the dashboard, which is not root.
    chmodSync(path, 0o660)
    const before = await heapBytes(page)
    await page.getByRole('switch', { name: 'Control' }).click()
    await page.getByRole('button', { name: 'Screen', exact: true }).click()
    await page.getByRole('button', { name: 'Clipboard', exact: true }).click()
    const field = page.getByRole('dialog', { name: `Clipboard of ${VM}` }).getByLabel('Text on the clipboard')
    await expect(field).toHaveValue(/^<img src=x onerror="document\.title='evil'">\[201~ y+$/, { timeout: 30_000 })
    expect((await field.inputValue()).length).toBeLessThanOrEqual(MiB)
    await expect(page.locator('img[src="x"]')).toHaveCount(0)
    expect((await heapBytes(page)) - before).toBeLessThan(48 * MiB)
    await isUntouched()
    server.close()
    renameSync(`${path}.real`, path)
  })
  line.close()
  await api.send('POST', `/vms/${vm.id}/poweroff`)
  await api.reached(vm.id, 'off')
  await api.send('DELETE', `/vms/${vm.id}`)
  await api.send('POST', '/volumes/empty-trash')
  await api.send('DELETE', `/images/${image.id}`)
})

/** As much of a VNC server as a viewer asks of before it takes clipboard text (RFC 6143 §7). */
async function serveCutText(socket: Socket, text: string): Promise<void> {
  socket.on('error', () => {})
  let held = Buffer.alloc(0)
  const take = async (count: number): Promise<void> => {
    while (held.length < count) {
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      held = Buffer.concat([held, chunk])
    }
    held = held.subarray(count)
  }
  socket.write('RFB 003.008\n')
  await take(12)
  socket.write(Buffer.of(1, 1))
  await take(1)
  socket.write(Buffer.of(0, 0, 0, 0))
  await take(1)
  const pixels = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]
  socket.write(Buffer.of(0, 64, 0, 64, ...pixels, 0, 0, 0, 4, ...Buffer.from('evil')))
  socket.resume()
  const bytes = Buffer.from(text, 'latin1')
  const head = Buffer.alloc(8)
  head[0] = 3
  head.writeUInt32BE(bytes.length, 4)
  socket.write(Buffer.concat([head, bytes]))
}
