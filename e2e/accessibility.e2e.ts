import { DESKTOP, isAccessible, violations } from './support/accessible.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { ADMIN, expect, test } from './support/fixtures.ts'
import { Dashboard } from './support/server.ts'

const VM = 'looked-at'

test('signing in and setting up', async ({ api, page }) => {
  await page.goto(`${api.dashboard.url}/login`)
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
  await isAccessible(page)

  const fresh = await Dashboard.start()
  try {
    await page.goto(fresh.url)
    await expect(page.getByRole('button', { name: 'Create administrator' })).toBeVisible()
    await page.getByRole('button', { name: 'Create administrator' }).click()
    await expect(page.getByRole('alert').first()).toBeVisible()
    await isAccessible(page)
  } finally {
    await fresh.dispose()
  }
})

test('the pages of the dashboard', async ({ adminPage: page, api }) => {
  test.setTimeout(900_000)
  await api.createVm({ ...EMPTY_MACHINE, name: VM, tags: ['seen'] })
  await api.createVm({ ...EMPTY_MACHINE, name: 'off' })
  await api.start((await api.vms()).find((vm) => vm.name === VM)?.id ?? '')
  const main = page.getByRole('main')
  const pages = [
    ['/', 'Overview', main.getByText(VM).first()],
    ['/vms', 'Virtual machines', page.getByRole('link', { name: VM })],
    ['/vms/new', 'New virtual machine', page.getByRole('radio', { name: 'Linux' })],
    ['/images', 'Images', page.getByText('The library is empty')],
    ['/storage', 'Storage', page.getByRole('heading', { name: 'Pools' })],
    ['/backups', 'Backups', page.getByText('No backups yet')],
    ['/lab', 'Lab', page.getByText('No VM has an end')],
    ['/host', 'Host', page.getByRole('heading', { name: 'Hardware acceleration' })],
    ['/people', 'People', main.getByText(ADMIN.name).first()],
    ['/account', 'Your account', page.getByRole('region', { name: 'Where you are signed in' }).getByText('this one')],
    ['/people/sign-in', 'Ways to sign in', page.getByRole('form', { name: 'OpenID Connect' })],
    ['/people/groups', 'People', page.getByText('No groups yet')],
    ['/people/roles', 'People', page.getByRole('heading', { name: 'Built-in roles' })],
    ['/projects', 'Projects', page.getByText('No projects yet')],
    ['/usage', 'Usage', page.getByRole('row').filter({ hasText: ADMIN.name })],
    ['/activity', 'Activity', main.getByText(VM).first()],
  ] as const
  for (const [path, name, loaded] of pages) {
    await test.step(name, async () => {
      await page.setViewportSize(DESKTOP)
      await page.goto(path)
      await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible()
      await expect(loaded).toBeVisible()
      await isAccessible(page)
    })
  }
})

test('the pages of one VM', async ({ adminPage: page, api }) => {
  test.setTimeout(900_000)
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM, memoryMiB: 64, networks: [{}] })
  await api.start(vm.id)
  const region = (name: string) => page.getByRole('region', { name })
  const pages = [
    ['', page.getByRole('heading', { name: 'Settings' })],
    ['/console', region(`Screen of ${VM}`).locator('canvas')],
    ['/console?tab=serial', region(`Serial console of ${VM}`).locator('.xterm-screen')],
    ['/devices', region('Hardware as the guest sees it').getByRole('listitem').first()],
    ['/devices?device=net0', page.getByRole('heading', { name: 'Edit net0' })],
    ['/devices?part=cpu', page.getByRole('heading', { name: 'Edit CPU' })],
    ['/snapshots', page.getByText('No snapshots yet')],
    ['/recordings', page.getByText('No recordings yet')],
    ['/backups', page.getByText('No backups yet')],
    ['/definition', page.getByRole('heading', { level: 2 }).first()],
    ['/activity', page.getByRole('main').getByText(/start/i).first()],
  ] as const
  for (const [path, shown] of pages) {
    await test.step(path, async () => {
      await page.setViewportSize(DESKTOP)
      await page.goto(`/vms/${vm.id}${path}`)
      await expect(shown).toBeVisible()
      await isAccessible(page)
    })
  }
})

test('under a finger the tabs of a VM lie side by side', async ({ adminPage, api, browser, dashboard }) => {
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM })
  const phone = await browser.newContext({
    ...{ baseURL: dashboard.url, storageState: await adminPage.context().storageState() },
    ...{ viewport: { width: 390, height: 844 }, hasTouch: true },
  })
  try {
    const page = await phone.newPage()
    await page.goto(`/vms/${vm.id}`)
    const tabs = page.getByRole('navigation', { name: 'Parts of this VM' }).getByRole('link')
    await expect(tabs.first()).toBeVisible()
    const cramped = await tabs.evaluateAll(
      (links) => links.filter((link) => link.scrollWidth > link.clientWidth).length,
    )
    expect(cramped).toBe(0)
    expect(await tabs.count()).toBeGreaterThan(5)
  } finally {
    await phone.close()
  }
})

test('the keyboard goes everywhere: shortcuts, search, help and the palette', async ({ adminPage: page, api }) => {
  await api.createVm({ ...EMPTY_MACHINE, name: VM })
  await page.goto('/')
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()
  // Keys work once the page is alive, which its live data shows.
  await expect(page.getByRole('main').getByText(VM).first()).toBeVisible()

  await page.keyboard.press('g')
  await page.keyboard.press('v')
  await expect(page).toHaveURL(/\/vms$/)
  await expect(page.getByRole('link', { name: VM })).toBeVisible()

  await page.keyboard.press('/')
  await expect(page.getByRole('searchbox', { name: 'Search VMs' })).toBeFocused()
  await page.keyboard.type('look')
  await expect(page).toHaveURL(/q=look/)
  await page.keyboard.press('ArrowDown')
  await expect(page.getByRole('link', { name: VM })).toBeFocused()

  await page.keyboard.press('?')
  const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' })
  await expect(help).toBeVisible()
  expect(await violations(page)).toEqual([])
  await page.keyboard.press('Escape')
  await expect(help).toBeHidden()

  const palette = page.getByRole('combobox', { name: 'A page, a VM or an action' })
  for (const chord of ['ControlOrMeta+k', 'Meta+k']) {
    await page.keyboard.press(chord)
    await expect(palette).toBeFocused()
    await page.keyboard.press('Escape')
    await expect(palette).toBeHidden()
  }
  await page.keyboard.press('Control+k')
  await palette.fill(`start ${VM}`)
  await expect(page.getByRole('option', { name: `Start ${VM}` })).toHaveAttribute('aria-selected', 'true')
  expect(await violations(page)).toEqual([])
  await page.keyboard.press('Enter')
  await expect(palette).toBeHidden()
  await expect(page.getByRole('row').filter({ hasText: VM })).toContainText('Running', { timeout: 30_000 })
})
