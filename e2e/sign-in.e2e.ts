/** Signing in with everything that comes after a password, or instead of one. */
import type { Page } from '@playwright/test'
import { Secret, TOTP } from 'otpauth'
import { send } from '#server/http/test-rig.ts'
import { startProvider } from '#server/testing/oidc-provider.ts'
import { expect, test } from './support/fixtures.ts'

const TINA = { name: 'tina', password: 'horse battery staple' }

async function giveName(page: Page, base: string, person = TINA): Promise<void> {
  await page.goto(`${base}/login`)
  await page.getByLabel('Name').fill(person.name)
  await page.getByLabel('Password').fill(person.password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
}

async function signOut(page: Page): Promise<void> {
  await page.getByRole('button', { name: /tina|ann/ }).click()
  await page.getByRole('menuitem', { name: 'Sign out' }).click()
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible()
}

test.describe.configure({ timeout: 240_000 })

test('an app for codes is set up on the account page and asked for from then on', async ({ page, api }) => {
  await api.createPerson(TINA, 'operator')
  const base = api.dashboard.url
  await giveName(page, base)
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()
  await page.goto(`${base}/account`)
  await page.getByRole('button', { name: 'Set up an app' }).click()
  const dialog = page.getByRole('dialog', { name: 'Set up an app for codes' })
  await expect(dialog.getByRole('img', { name: 'QR code for the app' })).toBeVisible()
  const app = new TOTP({ secret: Secret.fromBase32((await dialog.locator('code').textContent()) ?? '') })
  await dialog.getByLabel('Code that the app shows now').fill('000000')
  await dialog.getByRole('button', { name: 'Turn on' }).click()
  await expect(dialog.getByRole('alert')).toContainText('not the code')
  await dialog.getByLabel('Code that the app shows now').fill(app.generate())
  await dialog.getByRole('button', { name: 'Turn on' }).click()
  const codes = page.getByRole('dialog', { name: 'Your recovery codes' })
  await expect(codes.getByRole('listitem')).toHaveCount(10)
  const recovery = await codes.getByRole('listitem').allTextContents()
  await codes.getByRole('button', { name: 'I have kept them' }).click()
  await expect(page.getByText('10 codes are left.')).toBeVisible()

  await signOut(page)
  await giveName(page, base)
  await expect(page.getByRole('heading', { name: 'Second factor' })).toBeVisible()
  const code = page.getByLabel('Code', { exact: true })
  await expect(code).toBeFocused()
  await code.fill('000000')
  await code.press('Enter')
  await expect(page.getByRole('alert').first()).toContainText('the code is wrong')
  // The code of the period to come: that of this one has been used to set the app up.
  await code.fill(app.generate({ timestamp: Date.now() + 30_000 }))
  await code.press('Enter')
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()

  await signOut(page)
  await giveName(page, base)
  await page.getByLabel('Code', { exact: true }).fill(recovery[0] ?? '')
  await page.getByLabel('Code', { exact: true }).press('Enter')
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()
  await page.goto(`${base}/account`)
  await expect(page.getByText('9 codes are left.')).toBeVisible()
})

test('a passkey signs in after the password, and alone', async ({ page, api }) => {
  await api.createPerson(TINA, 'operator')
  // Passkeys belong to names; the address of the dashboard is none.
  await page.goto(`${api.dashboard.url}/login`)
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible()
  await expect(page.getByRole('button', { name: 'Sign in with a passkey' })).toBeHidden()
  const base = api.dashboard.url.replace('127.0.0.1', 'localhost')
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('WebAuthn.enable')
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  await giveName(page, base)
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()
  await page.goto(`${base}/account`)
  await page.getByRole('button', { name: 'Add a passkey' }).click()
  const dialog = page.getByRole('dialog', { name: 'Add a passkey' })
  await dialog.getByLabel('Name of the passkey').fill('test key')
  await dialog.getByRole('button', { name: 'Add a passkey' }).click()
  await page.getByRole('button', { name: 'I have kept them' }).click()
  await expect(page.getByRole('button', { name: 'Remove test key' })).toBeVisible()

  await signOut(page)
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click()
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()

  await signOut(page)
  await giveName(page, base)
  await page.getByRole('button', { name: 'Use a passkey' }).click()
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()

  await page.goto(`${base}/account`)
  const sessions = page.getByRole('region', { name: 'Where you are signed in' })
  await expect(sessions.getByText('this one')).toBeVisible()
  await expect(sessions.getByRole('listitem').first()).toContainText('Chrome, ')
})

test('a role that needs a second factor sees its account page alone until there is one', async ({ page, api }) => {
  await api.createPerson(TINA, 'viewer')
  await api.send('PATCH', '/sign-in', { policy: { secondFactorRoles: ['viewer'] } })
  try {
    const base = api.dashboard.url
    await giveName(page, base)
    await expect(page.getByText('Your role needs a second factor.')).toBeVisible()
    await page.goto(`${base}/vms`)
    await expect(page).toHaveURL(/\/account$/)
    await page.getByRole('button', { name: 'Set up an app' }).click()
    const dialog = page.getByRole('dialog', { name: 'Set up an app for codes' })
    await expect(dialog.getByRole('img')).toBeVisible()
    const app = new TOTP({ secret: Secret.fromBase32((await dialog.locator('code').textContent()) ?? '') })
    await dialog.getByLabel('Code that the app shows now').fill(app.generate())
    await dialog.getByRole('button', { name: 'Turn on' }).click()
    await page.getByRole('button', { name: 'I have kept them' }).click()
    await expect(page.getByText('Your role needs a second factor.')).toBeHidden()
    await page.goto(`${base}/vms`)
    await expect(page.getByRole('heading', { name: 'Virtual machines', level: 1 })).toBeVisible()
  } finally {
    await api.send('PATCH', '/sign-in', { policy: { secondFactorRoles: [] } })
  }
})

test('an administrator sets up an OpenID provider, and somebody signs in and out there', async ({
  adminPage: admin,
  api,
  browser,
}) => {
  const base = api.dashboard.url
  const provider = await startProvider(`${base}/login/return`)
  const context = await browser.newContext()
  try {
    await admin.goto('/people/sign-in')
    const form = admin.getByRole('form', { name: 'OpenID Connect' })
    await expect(form.getByText(`${base}/login/return`)).toBeVisible()
    await form.getByLabel('Called on the sign-in page').fill('the lab')
    await form.getByLabel('Address of the provider (issuer)').fill(provider.issuer)
    await form.getByLabel('Client ID').fill(provider.clientId)
    await form.getByLabel('Client secret').fill(provider.clientSecret)
    await form.getByLabel('Roles by group').fill('ops operator')
    await form.getByRole('button', { name: 'Save' }).click()
    await expect(form.getByText('Line 1 is not')).toBeVisible()
    await form.getByLabel('Roles by group').fill('ops = operator')
    await form.getByRole('button', { name: 'Save' }).click()
    await form.getByRole('button', { name: 'Try it' }).click()
    await expect(form.getByText(`${provider.issuer} answers.`)).toBeVisible()

    const page = await context.newPage()
    await page.goto(`${base}/login?next=/images`)
    await page.getByRole('button', { name: 'Sign in with the lab' }).click()
    await expect(page.getByText('The provider refused: Not today.')).toBeVisible()
    provider.person = { sub: 'u-1', preferred_username: 'ann', groups: ['ops'] }
    await page.goto(`${base}/login?next=/images`)
    await page.getByRole('button', { name: 'Sign in with the lab' }).click()
    await expect(page).toHaveURL(`${base}/images`)
    await expect(page.getByRole('heading', { name: 'Images', level: 1 })).toBeVisible()

    await page.getByRole('button', { name: /ann/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
    await expect(page).toHaveURL(new RegExp(`^${provider.issuer}/session/end`))
  } finally {
    await context.close()
    await api.send('PATCH', '/sign-in', { oidc: null })
    for (const user of (await api.call<{ items: { id: string; name: string }[] }>('GET', '/users')).items) {
      if (user.name === 'ann') await api.send('DELETE', `/users/${user.id}`)
    }
    await provider.close()
  }
})

/** Ways to name a page, some of which a router might take for something else than what was guarded. */
const spellings = (page: string) => [
  ...[page, `${page}/`, `/%2e${page}`, `/.${page}`, `/x/..${page}`, `/x/%2e%2e${page}`, `/x/%2e%2e%2f${page.slice(1)}`],
  ...[page.toUpperCase(), `${page}.rsc`, `${page}.txt`, `${page}.json`, `${page}.html`, `${page}?_rsc=1`, `${page};x`],
  ...[`/_next/data/x${page}.json`, `/_next/data/development${page}.json`, `/en${page}`, `/default${page}`],
  ...[`${page}%20`, `${page}%23`, `${page}%3f`, `/_next/image?url=${page}&w=64&q=75`, `/_next/..${page}`],
]
const TRICKS: Readonly<Record<string, string>>[] = [
  {},
  { 'x-middleware-subrequest': 'middleware:middleware:middleware:middleware:middleware' },
  { 'x-middleware-subrequest': 'src/middleware:src/middleware:src/middleware:src/middleware:src/middleware' },
  { 'x-original-url': '/api/v1/vms', 'x-rewrite-url': '/api/v1/vms', 'x-forwarded-uri': '/api/v1/vms' },
  { 'x-middleware-rewrite': '/api/v1/vms', 'x-matched-path': '/vms', 'x-now-route-matches': '1=vms' },
  { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1', forwarded: 'for=127.0.0.1;host=localhost' },
  { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', 'x-forwarded-port': '443' },
  { 'x-forwarded-user': 'admin', 'remote-user': 'admin', 'x-remote-user': 'admin', authorization: 'Basic YWRtaW46' },
  { rsc: '1', 'next-router-prefetch': '1', 'next-router-state-tree': '%5B%22%22%5D', 'x-nextjs-data': '1' },
  {
    'next-action': '7f'.repeat(20),
    'x-http-method-override': 'GET',
    'x-invoke-path': '/vms',
    'x-invoke-status': '200',
  },
]

test('without signing in no header and no spelling of an address shows anything of a VM, nor leads elsewhere (A08)', async ({
  api,
}) => {
  const vm = await api.createVm({ name: 'kept-from-strangers', memoryMiB: 32, cpus: 1, disks: [], networks: [] })
  const { port } = api.dashboard
  const told: string[] = []
  const look = async (path: string, headers: Readonly<Record<string, string>>) => {
    const { status, text, headers: got } = await send(port, 'GET', path, { headers })
    const what = `${path} with ${JSON.stringify(headers)}: ${status}`
    if (/kept-from-strangers/.test(text) || (text.includes(vm.id) && !path.includes(vm.id))) told.push(what)
    if (path.startsWith('/api/') && status !== 401 && status !== 404 && status !== 400) told.push(what)
    const to = String(got.location ?? '')
    if (/^(https?:)?\/\//.test(to) && !to.startsWith(`${api.dashboard.url}/`)) told.push(`${what} to ${to}`)
    if (status >= 500) told.push(what)
    return { status, text }
  }
  // Signed in the name is there: what is looked for below could be found.
  const seen = await send(port, 'GET', '/api/v1/vms', { headers: api.headers })
  expect(seen.text).toContain('kept-from-strangers')
  expect((await look('/vms', {})).text).toContain('<html')

  const pages = ['/vms', `/vms/${vm.id}`, '/api/v1/vms', `/api/v1/vms/${vm.id}`]
  for (const path of pages.flatMap(spellings)) await look(path, {})
  for (const headers of TRICKS)
    for (const path of [...pages, '/', '/login', '/api/v1/activity']) await look(path, headers)
  expect(told).toEqual([])
})
