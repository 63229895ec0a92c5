/** Whether a page can be used by everybody, as far as axe and a narrow screen can tell. */
import { expect, type Page } from '@playwright/test'
import axe from 'axe-core'

declare global {
  interface Window {
    axe?: typeof axe
  }
}

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
/** Rules that look at colours: all that a second theme can break. */
const COLOUR_RULES = ['color-contrast', 'link-in-text-block']
export const DESKTOP = { width: 1280, height: 800 }
const PHONE = { width: 360, height: 740 }

interface Rules {
  /** Tags or rules; those of WCAG 2.2 AA when left out, or `all` there are. */
  readonly only?: readonly string[] | 'all'
}

/**
 * What axe finds, as lines that say where and what. It runs in the page itself and tells of violations alone: the
 * builder for Playwright opens a page of its own for each run and takes all the passes along, ten times as long.
 */
export async function violations(page: Page, { only = TAGS }: Rules = {}): Promise<string[]> {
  // It would not look into frames.
  expect(page.frames(), `frames of ${page.url()}`).toHaveLength(1)
  if (await page.evaluate(() => window.axe === undefined)) await page.evaluate(axe.source)
  return page.evaluate(async (runOnly) => {
    if (window.axe === undefined) throw new Error('axe is not in the page')
    const { violations } = await window.axe.run(document, {
      resultTypes: ['violations'],
      ...(runOnly === 'all' ? {} : { runOnly: [...runOnly] }),
    })
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary ?? ''}`),
    )
  }, only)
}

/**
 * From the top, with the colours of one theme: on their way to the other they have no contrast to judge. Transitions are
 * ended rather than awaited, as a page that draws nothing meanwhile never ends its own; one can start another further
 * down, so they are looked for again.
 */
async function settled(page: Page): Promise<void> {
  await page.evaluate(() => {
    // What a bar that stays in place happens to cover is not too small: it comes out from under it.
    window.scrollTo(0, 0)
    for (let round = 0; round < 50; round++) {
      const changes = document.getAnimations().filter((one) => one instanceof CSSTransition)
      if (changes.length === 0) return
      for (const one of changes) one.finish()
    }
  })
}

/** Dark and light at desktop width, then at phone width, where other parts may show and it must not scroll sideways. */
export async function isAccessible(page: Page): Promise<void> {
  await page.setViewportSize(DESKTOP)
  const backgrounds = new Set<string>()
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await settled(page)
    backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor))
    const only = colorScheme === 'dark' ? TAGS : COLOUR_RULES
    expect(await violations(page, { only }), `${page.url()}, ${colorScheme}`).toEqual([])
  }
  expect(backgrounds.size, `themes of ${page.url()}`).toBe(2)
  await page.setViewportSize(PHONE)
  await settled(page)
  await expect
    .poll(() => page.evaluate(() => document.documentElement.scrollWidth), { message: `width of ${page.url()}` })
    .toBeLessThanOrEqual(PHONE.width)
  expect(await violations(page), `${page.url()} at 360 px`).toEqual([])
}
