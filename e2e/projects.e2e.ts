/** Projects, shares and limits as a story of an administrator and two people. */
import type { Browser, Locator, Page } from '@playwright/test'
import type { ObjectAccess } from '#lib/schema/project.ts'
import { isAccessible } from './support/accessible.ts'
import { EMPTY_MACHINE, type Person } from './support/api.ts'
import { expect, signIn, test } from './support/fixtures.ts'
import type { Dashboard } from './support/server.ts'

const MIA: Person = { name: 'mia', password: 'makes her own guests' }
const OTTO: Person = { name: 'otto', password: 'is in no project at all' }
const LOOK_ONLY = 'You may look but not change.'
/** Lists of projects and their limits are read anew every ten seconds. */
const LONG = { timeout: 30_000 }

async function pageOf(browser: Browser, dashboard: Dashboard, person: Person): Promise<Page> {
  const context = await browser.newContext({ baseURL: dashboard.url })
  await signIn(context.request, dashboard, person)
  return context.newPage()
}

async function isDisabledBecause(button: Locator, reason: string | RegExp): Promise<void> {
  await expect(button).toBeDisabled()
  await expect(button).toHaveAccessibleDescription(reason)
}

test('a project: members with roles, a VM of a member, a share that only looks, and limits that say what to do', async ({
  adminPage,
  api,
  browser,
  dashboard,
}) => {
  test.setTimeout(480_000)
  await api.createPerson(MIA, 'member')
  await api.createPerson(OTTO, 'member')
  const desktop = () => adminPage.setViewportSize({ width: 1280, height: 800 })
  const mia = await pageOf(browser, dashboard, MIA)
  const otto = await pageOf(browser, dashboard, OTTO)

  await test.step('the administrator begins a project and takes somebody in', async () => {
    await adminPage.goto('/projects')
    await expect(adminPage.getByText('No projects yet')).toBeVisible()
    await isAccessible(adminPage)
    await desktop()
    await adminPage.getByRole('button', { name: 'New project' }).click()
    const dialog = adminPage.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Create project' }).click()
    await expect(dialog.getByText('Give it a name.')).toBeVisible()
    await dialog.getByLabel('Name').fill('Course')
    await dialog.getByLabel('Description').fill('Guests of the course')
    await isAccessible(adminPage)
    await desktop()
    await dialog.getByRole('button', { name: 'Create project' }).click()
    await expect(adminPage.getByRole('heading', { name: 'Course', level: 1 })).toBeVisible()
    await adminPage.getByRole('button', { name: 'Add member' }).click()
    await dialog.getByLabel('To whom').selectOption('mia')
    await expect(dialog.getByRole('radio', { name: 'Member' })).toBeChecked()
    await isAccessible(adminPage)
    await desktop()
    await dialog.getByRole('button', { name: 'Add', exact: true }).click()
    await expect(dialog).toBeHidden()
    await expect(adminPage.getByRole('region', { name: 'Members' }).getByText('mia', { exact: true })).toBeVisible()
    await isAccessible(adminPage)
    await desktop()
  })

  await test.step('a member creates a VM in it, and somebody outside sees neither', async () => {
    await mia.goto('/projects')
    await isDisabledBecause(
      mia.getByRole('button', { name: 'New project' }),
      'Operators and administrators begin projects.',
    )
    await mia.getByRole('link', { name: 'Course' }).click()
    await isDisabledBecause(
      mia.getByRole('button', { name: 'Add member' }),
      'Only who manages this project changes it.',
    )
    await mia.getByRole('link', { name: 'New VM in it' }).click()
    await mia.getByText('Nothing', { exact: true }).click()
    await expect(mia.getByLabel('Project')).toHaveValue(/.+/)
    await mia.getByRole('textbox', { name: 'Name', exact: true }).fill('bench')
    await mia.getByRole('spinbutton', { name: 'Memory', exact: true }).fill('64')
    await mia.getByRole('button', { name: 'Create', exact: true }).click()
    await expect(mia.getByRole('heading', { name: 'bench', level: 1 })).toBeVisible()
    await expect(mia.getByText('of mia, in Course')).toBeVisible()
    await otto.goto('/vms')
    await expect(otto.getByText('No virtual machines yet')).toBeVisible()
    await otto.goto('/projects')
    await expect(otto.getByText('You are in none.')).toBeVisible()
  })

  await test.step('the list is narrowed to a project', async () => {
    await api.createVm({ ...EMPTY_MACHINE, name: 'elsewhere' })
    await adminPage.goto('/vms')
    await expect(adminPage.getByRole('link', { name: 'elsewhere' })).toBeVisible()
    await adminPage.getByLabel('Project', { exact: true }).selectOption('Course')
    await expect(adminPage.getByRole('link', { name: 'elsewhere' })).toBeHidden()
    await expect(adminPage.getByRole('link', { name: 'bench' })).toBeVisible()
    await expect(adminPage).toHaveURL(/q=project%3Acourse/)
  })

  await test.step('shared for looking it is seen at once, with every button told why it does nothing', async () => {
    await otto.goto('/vms')
    await expect(otto.getByText('No virtual machines yet')).toBeVisible()
    await mia.getByRole('region', { name: 'About' }).getByRole('button', { name: 'Share' }).click()
    const dialog = mia.getByRole('dialog', { name: 'Share bench' })
    await expect(dialog.getByText('Sees the VM and watches its screen; changes nothing')).toBeVisible()
    await dialog.getByLabel('Share with').selectOption('otto')
    await dialog.getByRole('button', { name: 'Share', exact: true }).click()
    await expect(dialog.getByRole('region', { name: 'Shared with' }).getByText('otto', { exact: true })).toBeVisible()
    await isAccessible(mia)
    await mia.setViewportSize({ width: 1280, height: 800 })
    // What somebody else changes meanwhile is in the open dialog at once, so that the next change starts from it.
    const bench = (await api.vms()).find(({ name }) => name === 'bench')
    const { user } = await api.call<{ user: { id: string } }>('GET', '/session')
    const { shares } = await api.call<ObjectAccess>('GET', `/vms/${bench?.id}/access`)
    const before = shares.map(({ to, role }) => ({ to, role }))
    await api.send('PATCH', `/vms/${bench?.id}/access`, {
      shares: [...before, { to: { type: 'person', id: user.id }, role: 'viewer' }],
    })
    const others = dialog.getByRole('region', { name: 'Shared with' })
    await expect(others.getByText('admin', { exact: true })).toBeVisible()
    await others.getByRole('button', { name: 'Stop sharing with admin' }).click()
    await expect(others.getByText('admin', { exact: true })).toHaveCount(0)
    await expect(others.getByText('otto', { exact: true })).toBeVisible()
    await otto.getByRole('link', { name: 'bench' }).click()
    await isDisabledBecause(otto.getByRole('button', { name: 'Start', exact: true }), LOOK_ONLY)
    await isDisabledBecause(otto.getByRole('button', { name: 'Edit', exact: true }), LOOK_ONLY)
    await isDisabledBecause(
      otto.getByRole('region', { name: 'About' }).getByRole('button', { name: 'Share' }),
      'Only its owner or an operator of its project shares it.',
    )
    for (const clone of ['Clone']) await isDisabledBecause(otto.getByRole('button', { name: clone }).first(), LOOK_ONLY)
    for (const [tab, button] of [
      ['Snapshots', 'Take snapshot'],
      ['Backups', 'Back up now'],
      ['Devices', 'Add device'],
    ] as const) {
      await otto
        .getByRole('navigation', { name: 'Parts of this VM' })
        .getByRole('link', { name: tab, exact: true })
        .click()
      await expect(otto.getByRole('button', { name: button })).toBeDisabled()
      await expect(otto.getByRole('button', { name: button })).toHaveAccessibleDescription(/may look|not allow/)
    }
    await isAccessible(otto)
  })

  await test.step('taken back, it is gone for them while they look', async () => {
    const dialog = mia.getByRole('dialog', { name: 'Share bench' })
    await dialog.getByRole('button', { name: 'Stop sharing with otto' }).click()
    await expect(dialog.getByText('Nobody else.')).toBeVisible()
    await expect(otto.getByText('There is nothing here')).toBeVisible(LONG)
    await mia.keyboard.press('Escape')
  })

  await test.step('what a limit leaves is shown before the click, and a refusal says what to do', async () => {
    await adminPage.goto('/projects')
    await adminPage.getByRole('link', { name: 'Course' }).click()
    await adminPage.getByRole('button', { name: 'Edit limits' }).click()
    const dialog = adminPage.getByRole('dialog', { name: 'Limits of Course' })
    await dialog.getByLabel('Memory, defined').fill('128')
    await isAccessible(adminPage)
    await desktop()
    await dialog.getByRole('button', { name: 'Save' }).click()
    await expect(dialog).toBeHidden()
    await expect(adminPage.getByRole('img', { name: /Memory, defined: 64.* of 128/ })).toBeVisible()
    await mia.goto('/projects')
    await mia.getByRole('link', { name: 'Course' }).click()
    await mia.getByRole('link', { name: 'New VM in it' }).click()
    await mia.getByText('Nothing', { exact: true }).click()
    await mia.getByRole('spinbutton', { name: 'Memory', exact: true }).fill('64')
    const limits = mia.getByRole('region', { name: 'Of the limits of Course' })
    await expect(limits.getByRole('img', { name: /Memory, defined: 128.* of 128/ })).toBeVisible(LONG)
    await mia.getByRole('spinbutton', { name: 'Memory', exact: true }).fill('512')
    await expect(mia.getByRole('spinbutton', { name: 'Memory', exact: true })).toHaveAccessibleDescription(
      /The project Course may have 128 MiB of memory; 64 are in use.*ask an administrator/,
    )
    await isDisabledBecause(mia.getByRole('button', { name: 'Create', exact: true }), 'Mend what is marked first.')
    await isAccessible(mia)
    await mia.setViewportSize({ width: 1280, height: 800 })
    await mia.getByRole('spinbutton', { name: 'Memory', exact: true }).fill('64')
    await mia.getByRole('textbox', { name: 'Name', exact: true }).fill('second')
    await mia.getByRole('button', { name: 'Create', exact: true }).click()
    await expect(mia.getByRole('heading', { name: 'second', level: 1 })).toBeVisible()
  })

  await test.step('the page of usage says who uses what, and an owner moves a VM out of the project', async () => {
    await adminPage.goto('/usage')
    const row = adminPage.getByRole('row').filter({ hasText: 'Course' })
    await expect(row).toContainText('128')
    await expect(adminPage.getByText('Delete 2 VMs that are off')).toBeVisible()
    await isAccessible(adminPage)
    await desktop()
    await mia.getByRole('button', { name: 'More actions for second' }).click()
    await mia.getByRole('menuitem', { name: 'Move to project…' }).click()
    const dialog = mia.getByRole('dialog', { name: 'Whose second is' })
    await dialog.getByLabel('Project').selectOption('No project: its owner’s alone')
    await dialog.getByRole('button', { name: 'Move' }).click()
    await expect(mia.getByText('of mia', { exact: true })).toBeVisible()
  })

  await test.step('a project that owns something stays; an empty one goes after a question', async () => {
    await adminPage.goto('/projects')
    await adminPage.getByRole('link', { name: 'Course' }).click()
    await isDisabledBecause(adminPage.getByRole('button', { name: 'Delete', exact: true }), /still owns 1 VM/)
    for (const { id } of (await api.vms()).filter(({ project }) => project?.name === 'Course'))
      await api.call('DELETE', `/vms/${id}`)
    await adminPage.reload()
    await adminPage.getByRole('button', { name: 'Delete', exact: true }).click()
    await adminPage.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await expect(adminPage.getByText('No projects yet')).toBeVisible()
  })
  await mia.context().close()
  await otto.context().close()
})

test('a role of one’s own is put together, given to a person and explained; a group follows its list', async ({
  adminPage: page,
  api,
}) => {
  test.setTimeout(240_000)
  await api.createPerson(MIA, 'member')
  const desktop = () => page.setViewportSize({ width: 1280, height: 800 })
  await page.goto('/people')
  await page.getByRole('link', { name: 'Roles' }).click()
  await expect(page.getByRole('heading', { name: 'Built-in roles' })).toBeVisible()
  await isAccessible(page)
  await desktop()
  await page.getByRole('button', { name: 'New role' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Name').fill('Switcher')
  await dialog.getByRole('checkbox', { name: 'start and stop VMs' }).check()
  await isAccessible(page)
  await desktop()
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByRole('heading', { name: 'Switcher' })).toBeVisible()
  await page.getByRole('link', { name: 'People', exact: true }).last().click()
  await page.getByRole('button', { name: 'More about mia' }).click()
  await page.getByRole('menuitem', { name: 'Make Switcher' }).click()
  await expect(page.getByRole('listitem').filter({ hasText: 'mia' })).toContainText('Switcher')
  await page.getByRole('link', { name: 'Roles' }).click()
  await isDisabledBecause(page.getByRole('button', { name: 'Delete Switcher' }), /given to somebody/)
  await page.getByRole('link', { name: 'Groups' }).click()
  await expect(page.getByText('No groups yet')).toBeVisible()
  await page.getByRole('button', { name: 'New group' }).click()
  await dialog.getByLabel('Name').fill('Staff')
  await dialog.getByRole('checkbox', { name: 'mia' }).check()
  await dialog.getByLabel('Follows a group elsewhere').fill('staff')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog.getByRole('alert')).toContainText('oidc:')
  await dialog.getByLabel('Follows a group elsewhere').fill('oidc:staff')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('follows oidc:staff')).toBeVisible()
  await isAccessible(page)
  await desktop()
  await page.getByRole('button', { name: 'Delete Staff' }).click()
  await dialog.getByRole('button', { name: 'Delete Staff' }).click()
  await expect(page.getByText('No groups yet')).toBeVisible()
  await page.getByRole('link', { name: 'People', exact: true }).last().click()
  await page.getByRole('button', { name: 'More about mia' }).click()
  await page.getByRole('menuitem', { name: 'Make Member' }).click()
  await expect(page.getByRole('listitem').filter({ hasText: 'mia' })).toContainText('Member')
  await page.getByRole('link', { name: 'Roles' }).click()
  await page.getByRole('button', { name: 'Delete Switcher' }).click()
  await dialog.getByRole('button', { name: 'Delete Switcher' }).click()
  await expect(page.getByText('None yet.')).toBeVisible()
})

test('a bridge of the host is opened to a project by a name, seen by its people, and closed again', async ({
  adminPage: page,
  api,
  browser,
  dashboard,
}) => {
  test.setTimeout(240_000)
  await api.createPerson(MIA, 'member')
  const people = await api.call<{ people: { id: string; name: string }[] }>('GET', '/directory')
  const id = people.people.find(({ name }) => name === MIA.name)?.id ?? ''
  const members = [{ to: { type: 'person', id }, role: 'member' }]
  const project = await api.call<{ id: string }>('POST', '/projects', { name: 'Wired', members })
  const networks = page.getByRole('region', { name: 'Networks' })
  const dialog = page.getByRole('dialog')

  await page.goto('/host')
  await expect(networks.getByText('No networks yet')).toBeVisible()
  await networks.getByRole('button', { name: 'New network' }).click()
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog.getByText('Give it a name.')).toBeVisible()
  await dialog.getByLabel('Name').fill('Course LAN')
  await dialog.getByLabel('Bridge of the host').fill('no bridge')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog.getByLabel('Bridge of the host')).toHaveAccessibleDescription(/Which bridge is it/)
  await dialog.getByLabel('Bridge of the host').fill('gdcourse0')
  await dialog.getByRole('checkbox', { name: 'Wired' }).check()
  await isAccessible(page)
  await page.setViewportSize({ width: 1280, height: 800 })
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog).toBeHidden()
  await expect(networks.getByRole('listitem')).toContainText('open to Wired')
  await expect(networks.getByRole('listitem')).toContainText('the host has no such bridge now')
  await isAccessible(page)
  await page.setViewportSize({ width: 1280, height: 800 })

  const mia = await pageOf(browser, dashboard, MIA)
  await mia.goto('/host')
  const hers = mia.getByRole('region', { name: 'Networks' })
  await expect(hers.getByRole('listitem')).toContainText('Course LAN')
  await isDisabledBecause(hers.getByRole('button', { name: 'New network' }), 'Your role does not allow this.')
  await mia.context().close()

  await networks.getByRole('button', { name: 'Edit Course LAN' }).click()
  await dialog.getByRole('checkbox', { name: 'Everybody' }).check()
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(networks.getByRole('listitem')).toContainText('open to everybody')
  await networks.getByRole('button', { name: 'Close Course LAN' }).click()
  await dialog.getByRole('button', { name: 'Close Course LAN' }).click()
  await expect(networks.getByText('No networks yet')).toBeVisible()
  await api.send('DELETE', `/projects/${project.id}`)
})
