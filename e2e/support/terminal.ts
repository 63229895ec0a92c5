/** The guest's serial console as the page draws it. */
import type { Locator, Page } from '@playwright/test'

export class Terminal {
  readonly region: Locator
  readonly #page: Page

  constructor(page: Page, vmName: string) {
    this.#page = page
    this.region = page.getByRole('region', { name: `Serial console of ${vmName}` })
  }

  /** The last line with this text, as a screen reader finds it: the letters themselves may be drawn in any way. */
  line(text: string): Locator {
    return this.region.getByRole('listitem').filter({ hasText: text }).last()
  }

  /** Gives the terminal the keyboard as a reader does, and types. */
  async type(line: string): Promise<void> {
    await this.region.click()
    await this.#page.keyboard.type(`${line}\n`)
  }
}
