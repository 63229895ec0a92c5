/** Whether a page can be used by everybody, as far as axe and a narrow screen can tell. */
import AxeBuilder from '@axe-core/playwright'
import { expect, type Page } from '@playwright/test'

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
export const DESKTOP = { width: 1280, height: 800 }
const PHONE = { width: 360, height: 740 }

/** What axe finds, as lines that say where and what. */
export async function violations(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze()
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary ?? ''}`),
  )
}

/** From the top, with the colours of one theme: on their way to the other they have no contrast to judge. */
async function settled(page: Page): Promise<void> {
  await page.evaluate(async () => {
    // What a bar that stays in place happens to cover is not too small: it comes out from under it.
    window.scrollTo(0, 0)
    const changes = document.getAnimations().filter((one) => one instanceof CSSTransition)
    await Promise.allSettled(changes.map(({ finished }) => finished))
  })
}

/** Dark and light at desktop width, then at phone width, where the page must not scroll sideways. */
export async function isAccessible(page: Page): Promise<void> {
  await page.setViewportSize(DESKTOP)
  const backgrounds = new Set<string>()
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await settled(page)
    backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor))
    expect(await violations(page), `${page.url()}, ${colorScheme}`).toEqual([])
  }
  expect(backgrounds.size, `themes of ${page.url()}`).toBe(2)
  await page.setViewportSize(PHONE)
  await settled(page)
  await expect
    .poll(() => page.evaluate(() => document.documentElement.scrollWidth), { message: `width of ${page.url()}` })
    .toBeLessThanOrEqual(PHONE.width)
  expect(await violations(page), `${page.url()} at 360 px`).toEqual([])
}
