/** `page-list` and `page-list-bytes`: cold navigation until 20 VMs are on the page, in a fresh browser context each time. */
import { type Browser, chromium } from '@playwright/test'
import type { Vm } from '#lib/schema/vm-state.ts'
import { startCockpit } from '../support/cockpit.ts'
import { type Deck, startDeck } from '../support/deck.ts'
import type { Libvirt } from '../support/libvirt.ts'
import { interleave, median, type Row, round, row } from '../support/stats.ts'

const VMS = 20
const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

interface Visit {
  readonly ms: number
  readonly bytes: number
}

/** Bytes are what crossed the network: compressed bodies and headers, and WebSocket payloads. */
async function visit(
  browser: Browser,
  url: string,
  names: readonly string[],
  prepare: { signIn?: { base: string; person: { name: string; password: string } }; init?: string },
): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  try {
    if (prepare.init) await context.addInitScript(prepare.init)
    const page = await context.newPage()
    if (prepare.signIn) {
      await page.goto(`${prepare.signIn.base}/login`)
      const status = await page.evaluate(
        async (body) =>
          (await fetch('/api/v1/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body }))
            .status,
        JSON.stringify(prepare.signIn.person),
      )
      if (status !== 201) throw new Error(`sign-in answers ${status}`)
      await page.goto('about:blank')
    }
    const cdp = await context.newCDPSession(page)
    await cdp.send('Network.enable')
    // Signing in has read what the pages share; cold means cold.
    await cdp.send('Network.clearBrowserCache')
    let bytes = 0
    cdp.on('Network.loadingFinished', (event) => {
      bytes += event.encodedDataLength
    })
    cdp.on('Network.webSocketFrameReceived', (event) => {
      bytes += event.response.payloadData.length
    })
    const before = performance.now()
    await page.goto(url, { waitUntil: 'commit' })
    // biome-ignore lint/performance/useDomNodeTextContent: only what is really laid out counts as usable.
    await page.waitForFunction((wanted) => wanted.every((name) => document.body?.innerText.includes(name)), names, {
      polling: 'raf',
      timeout: 60_000,
    })
    const ms = performance.now() - before
    await page.waitForLoadState('networkidle').catch(() => undefined)
    return { ms, bytes }
  } finally {
    await context.close()
  }
}

/** A dashboard of its own: with 500 VMs defined both lists would measure something else. */
export async function pageRows(libvirt: Libvirt | null, scratch: string): Promise<Row[]> {
  const deck: Deck = await startDeck({ pages: true })
  const cockpit = libvirt
    ? await startCockpit(scratch).catch((error: Error) => {
        console.error(`bench: cockpit could not be started (${error.message}); page-list has no peer`)
        return null
      })
    : null
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: CHROMIUM_ARGS })
  try {
    const names = Array.from({ length: VMS }, (_, n) => `page-${String(n).padStart(2, '0')}`)
    for (const name of names) {
      const vm = await deck.create(name, { memoryMiB: 32, accelerator: 'tcg' })
      await deck.call<Vm>('POST', `/vms/${vm.id}/start`)
      await deck.call<Vm>('POST', `/vms/${vm.id}/pause`)
      await libvirt?.define(name, { memoryMiB: 32, devices: true })
      await libvirt?.virsh('start', '--paused', name)
    }
    const bytes = { ours: [] as number[], cockpit: [] as number[] }
    const measure = async (who: 'ours' | 'cockpit', work: () => Promise<Visit>) => {
      const result = await work()
      bytes[who].push(result.bytes / 1000)
      return result.ms
    }
    const samples = await interleave(7, {
      ours: () => measure('ours', () => visit(browser, `${deck.base}/vms`, names, { signIn: deck })),
      cockpit: async () =>
        cockpit
          ? measure('cockpit', () =>
              visit(browser, cockpit.url, names.slice(0, 10), {
                init: `localStorage.setItem('virtualization-disabled-ignored', 'true')`,
              }),
            )
          : Number.NaN,
    })
    console.error(`page-list: ${round(median(samples.ours))} ms, ${round(median(bytes.ours))} kB`)
    const peer = cockpit ? 'cockpit-machines' : 'none'
    return [
      row('page-list', 'ms', samples.ours, peer, samples.cockpit),
      row('page-list-bytes', 'kB', bytes.ours, peer, cockpit ? bytes.cockpit : [Number.NaN]),
    ]
  } finally {
    await browser.close()
    await cockpit?.stop()
    await deck.stop()
  }
}
