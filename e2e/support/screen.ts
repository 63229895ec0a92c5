/** The guest's screen as the page draws it. */
import { expect, type Locator, type Page } from '@playwright/test'

/** A key every 40 ms is a fast typist; QEMU's USB keyboard holds 16 events and loses what comes while it is full. */
const KEY_DELAY_MS = 40

export class Screen {
  readonly region: Locator
  readonly canvas: Locator
  readonly #page: Page

  constructor(page: Page, vmName: string) {
    this.#page = page
    this.region = page.getByRole('region', { name: `Screen of ${vmName}` })
    this.canvas = this.region.locator('canvas')
  }

  /** How many pixels are not black, and a sum that differs when the picture does. */
  async look(): Promise<{ lit: number; sum: number }> {
    return this.canvas.evaluate((canvas: HTMLCanvasElement) => {
      const pixels = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? []
      let lit = 0
      let sum = 0
      for (let at = 0; at < pixels.length; at += 4) {
        const light = (pixels[at] ?? 0) + (pixels[at + 1] ?? 0) + (pixels[at + 2] ?? 0)
        if (light === 0) continue
        lit++
        sum = (sum * 31 + light * (at + 1)) % 2_147_483_647
      }
      return { lit, sum }
    })
  }

  /** Waits until the guest shows something. */
  async isLit(): Promise<void> {
    await expect(this.canvas).toBeVisible()
    await expect.poll(async () => (await this.look()).lit, { timeout: 30_000 }).toBeGreaterThan(100)
  }

  /** Waits until the picture differs from an earlier one. */
  async changedSince({ sum }: { readonly sum: number }): Promise<void> {
    await expect.poll(async () => (await this.look()).sum, { timeout: 30_000 }).not.toBe(sum)
  }

  /** Gives the screen the keyboard as a reader does, and types. Characters without Shift only. */
  async type(line: string): Promise<void> {
    await this.canvas.click()
    await this.#page.keyboard.type(`${line}\n`, { delay: KEY_DELAY_MS })
  }
}
