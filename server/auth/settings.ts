/** How people may sign in, as administrators set it; secrets are sealed. Read from the store each time: few and small. */
import type {
  HostSettings,
  LdapSettings,
  OidcSettings,
  SignInPolicy,
  SignInSettingsChange,
} from '#lib/schema/sign-in.ts'
import type { ExternalRealm } from '#lib/schema/user.ts'
import type { Sealer } from '#server/auth/sealer.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

const KEY = 'sign-in'
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

interface SettingsDocument {
  readonly v: 1
  readonly policy: SignInPolicy
  readonly oidc: (OidcSettings & { readonly sealedClientSecret: string | null }) | null
  readonly ldap: (LdapSettings & { readonly sealedBindPassword: string | null }) | null
  readonly host: HostSettings | null
}
const NOTHING: SettingsDocument = { v: 1, policy: { secondFactorRoles: [] }, oidc: null, ldap: null, host: null }

export interface Settings {
  readonly revision: number
  readonly policy: SignInPolicy
  readonly oidc: (OidcSettings & { readonly clientSecret: string | null }) | null
  readonly ldap: (LdapSettings & { readonly bindPassword: string | null }) | null
  readonly host: HostSettings | null
}

/** For whoever asks without the key of the seals. */
export function isRealmEnabled(store: Store, realm: ExternalRealm): boolean {
  return store.get<SettingsDocument>('meta', KEY)?.value[realm]?.enabled ?? false
}

export interface SettingsStore {
  /** Opens the seals; nothing of it may be answered as it is. */
  read(): Settings
  /** @param check looks at the result before it counts, and throws to refuse it */
  change(change: SignInSettingsChange, check: () => void): void
}

/** TLS, unless it stays on this machine. @throws EngineError bad_input */
function assertProtected(settings: SignInSettingsChange): void {
  if (settings.oidc) {
    const { protocol, hostname } = new URL(settings.oidc.issuer)
    if (protocol !== 'https:' && !LOOPBACK.has(hostname)) {
      throw new EngineError('bad_input', 'oidc.issuer: must begin with https://.', { field: 'oidc.issuer' })
    }
  }
  if (settings.ldap) {
    const { protocol, hostname } = new URL(settings.ldap.url)
    if (protocol !== 'ldaps:' && !settings.ldap.startTls && !LOOPBACK.has(hostname)) {
      throw new EngineError(
        'bad_input',
        'ldap.url: passwords would cross the network in clear. Use ldaps:// or StartTLS.',
        { field: 'ldap.url' },
      )
    }
  }
}

export function createSettings(store: Store, sealer: Sealer): SettingsStore {
  const stored = () => store.get<SettingsDocument>('meta', KEY)
  const open = (sealed: string | null, purpose: string) => (sealed === null ? null : sealer.open(sealed, purpose))
  /** What was given, what was there while nothing is given, nothing when an empty one is given. */
  const kept = (given: string | undefined, before: string | null, purpose: string) => {
    if (given === undefined) return before
    return given === '' ? null : sealer.seal(given, purpose)
  }
  return {
    read() {
      const found = stored()
      const { policy, oidc, ldap, host } = found?.value ?? NOTHING
      return {
        revision: found?.revision ?? 0,
        policy,
        oidc: oidc && { ...oidc, clientSecret: open(oidc.sealedClientSecret, 'oidc') },
        ldap: ldap && { ...ldap, bindPassword: open(ldap.sealedBindPassword, 'ldap') },
        host,
      }
    },
    change(change, check) {
      assertProtected(change)
      store.transaction(() => {
        const before = stored()?.value ?? NOTHING
        let { policy, oidc, ldap, host } = before
        if (change.policy) policy = change.policy
        if (change.oidc === null) oidc = null
        else if (change.oidc) {
          const { clientSecret, ...rest } = change.oidc
          // A secret is for the provider it was given for: it is not sent to another one.
          const old = before.oidc?.issuer === rest.issuer ? before.oidc.sealedClientSecret : null
          oidc = { ...rest, sealedClientSecret: kept(clientSecret, old, 'oidc') }
        }
        if (change.ldap === null) ldap = null
        else if (change.ldap) {
          const { bindPassword, ...rest } = change.ldap
          const old = before.ldap?.url === rest.url ? before.ldap.sealedBindPassword : null
          ldap = { ...rest, sealedBindPassword: kept(bindPassword, old, 'ldap') }
        }
        if (change.host !== undefined) host = change.host
        const after: SettingsDocument = { v: 1, policy, oidc, ldap, host }
        store.put('meta', KEY, after)
        check()
      })
    },
  }
}
