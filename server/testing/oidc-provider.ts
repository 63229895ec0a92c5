/** For tests: a real OpenID provider on loopback, whose one person is whoever the test says. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'

export interface ProviderPerson {
  readonly sub: string
  readonly preferred_username: string
  readonly groups?: readonly string[]
  readonly email?: string
  readonly email_verified?: boolean
}

export interface TestProvider {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Who is signed in there from now on; null refuses. */
  person: ProviderPerson | null
  /** Follows an authorization URL as a browser would, and returns the query the browser comes back with. */
  signIn(url: string): Promise<string>
  close(): Promise<void>
}

const CLIENT_ID = 'guestdeck'
const CLIENT_SECRET = 'a secret of the client of the test'

export async function startProvider(redirectUri: string): Promise<TestProvider> {
  const server: Server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const self = { person: null as ProviderPerson | null }
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: CLIENT_SECRET,
        redirect_uris: [redirectUri],
        post_logout_redirect_uris: [redirectUri.replace('/return', '')],
      },
    ],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: async () => ({ ...self.person, groups: [...(self.person?.groups ?? [])], sub }),
    }),
    // Asking for consent is not what is tried here.
    async loadExistingGrant(ctx) {
      const { client, session } = ctx.oidc
      if (client === undefined || session?.accountId === undefined) return undefined
      const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId })
      grant.addOIDCScope('openid profile email')
      await grant.save()
      return grant
    },
  })
  server.on('request', (request, response) => {
    if (!request.url?.startsWith('/interaction/')) return provider.callback()(request, response)
    const result =
      self.person === null
        ? { error: 'access_denied', error_description: 'Not today.' }
        : { login: { accountId: self.person.sub } }
    provider
      .interactionFinished(request, response, result, { mergeWithLastSubmission: false })
      .catch(() => response.end())
  })

  return {
    issuer,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    get person() {
      return self.person
    },
    set person(next) {
      self.person = next
    },
    async signIn(url) {
      const cookies = new Map<string, string>()
      let at = url
      for (let hop = 0; hop < 10; hop += 1) {
        const answer = await fetch(at, {
          redirect: 'manual',
          headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
        })
        for (const line of answer.headers.getSetCookie()) {
          const [pair = ''] = line.split(';')
          const cut = pair.indexOf('=')
          cookies.set(pair.slice(0, cut), pair.slice(cut + 1))
        }
        const location = answer.headers.get('location')
        if (location === null) throw new Error(`${at}: ${answer.status} ${(await answer.text()).slice(0, 300)}`)
        const next = new URL(location, at)
        if (next.href.startsWith(redirectUri)) return next.search.slice(1)
        at = next.href
      }
      throw new Error('the provider sends the browser in circles')
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
