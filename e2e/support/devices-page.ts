/** The Devices page of a VM, as somebody works with it while the guest runs. */
import { expect, type Locator, type Page } from '@playwright/test'

/** A guest under TCG on a busy machine takes its time to let go of a device, and QEMU to plug one in. */
const APPLY_TIMEOUT_MS = 60_000
/** The form is fetched when it is opened, and the server works out what a change would do. */
const PLAN_TIMEOUT_MS = 30_000

export class DevicesPage {
  readonly #page: Page
  readonly #path: string

  constructor(page: Page, vmId: string) {
    this.#page = page
    this.#path = `/vms/${vmId}/devices`
  }

  async open(): Promise<void> {
    await this.#page.goto(this.#path)
    await expect(this.#page.getByRole('button', { name: 'Add device' })).toBeEnabled()
  }

  /** The line of a device in the list. */
  row(id: string): Locator {
    return this.#page
      .getByRole('listitem')
      .filter({ has: this.#page.getByRole('heading', { name: id, exact: true, level: 3 }) })
  }

  /**
   * Opens the form for another device, has it filled in, and applies it once the page promises that the guest gets it
   * at once.
   * @param kind as in the menu: `Disk` @param title of the form @param id the device gets
   */
  async add(
    kind: string,
    title: string,
    id: string,
    fill: (form: Locator) => Promise<void> = async () => {},
  ): Promise<void> {
    const button = this.#page.getByRole('button', { name: 'Add device' })
    // A menu closes when the page scrolls, and news of a scroll comes with the next frame.
    await button.scrollIntoViewIfNeeded()
    await this.#frames()
    await button.click()
    await this.#page.getByRole('menuitem', { name: kind, exact: true }).click()
    const form = this.#page.getByRole('region', { name: title })
    await fill(form)
    await expect(form.getByRole('heading', { name: 'The guest gets this at once' })).toBeVisible({
      timeout: PLAN_TIMEOUT_MS,
    })
    await expect(form.getByRole('heading', { name: 'Waits for the next start' })).toBeHidden()
    await form.getByRole('button', { name: 'Apply now' }).click()
    await this.says(`${id}: done.`)
    await expect(form).toBeHidden()
  }

  /** Removes a device after the page has asked. The guest still has to let go of it. */
  async remove(id: string): Promise<void> {
    await this.row(id)
      .getByRole('button', { name: `Remove ${id}` })
      .click()
    const dialog = this.#page.getByRole('dialog', { name: `Remove ${id}?` })
    await expect(dialog.getByText(`The guest is asked to release ${id}.`)).toBeVisible({ timeout: PLAN_TIMEOUT_MS })
    await dialog.getByRole('button', { name: 'Remove now' }).click()
    await expect(dialog).toBeHidden({ timeout: APPLY_TIMEOUT_MS })
  }

  /** The number of CPUs, as it can be set while the guest runs. */
  get cpus(): Locator {
    return this.#page.getByRole('spinbutton', { name: 'CPUs now' })
  }

  /** The slider of the memory that comes and goes while the guest runs, in MiB. */
  get virtioMem(): Locator {
    return this.#page.getByRole('slider', { name: 'Memory from virtio-mem' })
  }

  /** The switch that stands for the cable of a network card. */
  cable(id: string): Locator {
    return this.row(id).getByRole('switch', { name: `Cable of ${id}` })
  }

  async says(text: string): Promise<void> {
    await expect(this.#page.getByRole('status').filter({ hasText: text })).toBeVisible({ timeout: APPLY_TIMEOUT_MS })
  }

  /** What stands in the section of what can be changed while the guest runs. */
  get whileItRuns(): Locator {
    return this.#page.getByRole('region', { name: 'While it runs' })
  }

  #frames(): Promise<void> {
    return this.#page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))),
    )
  }
}
