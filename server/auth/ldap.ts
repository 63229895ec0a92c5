/**
 * People of a directory: found by a search, proved by signing in as them, with groups for their role.
 * Every step has a deadline; plain LDAP is refused but on loopback (`settings.ts`).
 */
import { isIP } from 'node:net'
import { Client, InvalidCredentialsError, SizeLimitExceededError } from 'ldapts'
import type { Settings } from '#server/auth/settings.ts'
import { EngineError } from '#server/engine/errors.ts'

const CONNECT_MS = 5000
const OPERATION_MS = 8000
const GROUPS_MAX = 1000

type Ldap = NonNullable<Settings['ldap']>

export interface DirectoryPerson {
  readonly name: string
  readonly dn: string
  readonly groups: readonly string[]
}

/** RFC 4515: what somebody typed stays a value, whatever it looks like. */
export function escapeFilter(value: string): string {
  return value.replace(/[\0()*\\&|=!<>~/]|[^\x20-\x7e]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join(''),
  )
}

const filled = (template: string, values: { name: string; dn?: string }) =>
  template.replaceAll(/\{(name|dn)\}/g, (_, key: 'name' | 'dn') => escapeFilter(values[key] ?? ''))

const unreachable = (cause: unknown) =>
  new EngineError('sign_in_failed', 'The directory does not answer as expected. An administrator can check it.', {
    cause,
  })

async function connect(settings: Ldap): Promise<Client> {
  const tls = {
    ...(settings.ca !== null && { ca: settings.ca }),
    minVersion: 'TLSv1.2' as const,
    // Names alone; an address is compared with the certificate as well, but not announced.
    ...(isIP(new URL(settings.url).hostname) === 0 && { servername: new URL(settings.url).hostname }),
  }
  const client = new Client({
    url: settings.url,
    timeout: OPERATION_MS,
    connectTimeout: CONNECT_MS,
    ...(settings.url.startsWith('ldaps:') && { tlsOptions: tls }),
  })
  if (settings.startTls && !settings.url.startsWith('ldaps:')) await client.startTLS(tls)
  return client
}

/** Runs `work` on a connection of its own, closed in any case. */
async function connected<T>(settings: Ldap, work: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(settings)
  try {
    return await work(client)
  } finally {
    await client.unbind().catch(() => {})
  }
}

/** Attributes may be one value or several, text or bytes. */
const texts = (value: unknown): string[] => (Array.isArray(value) ? value : [value]).map(String).filter((v) => v !== '')

/** The common name of a group's DN, for mapping by it: `cn=ops,ou=groups,…` is also `ops`. */
const commonName = (dn: string): string => /^cn=((?:[^,\\]|\\.)+)/i.exec(dn)?.[1] ?? dn

async function find(client: Client, settings: Ldap, name: string) {
  if (settings.bindDn !== '') await client.bind(settings.bindDn, settings.bindPassword ?? '')
  const { searchEntries } = await client
    .search(settings.baseDn, {
      scope: 'sub',
      filter: filled(settings.filter, { name }),
      attributes: [settings.nameAttribute, 'memberOf'],
      // A name that fits two people is nobody's.
      sizeLimit: 2,
      timeLimit: Math.ceil(OPERATION_MS / 1000),
    })
    .catch((error: unknown) => {
      if (error instanceof SizeLimitExceededError) return { searchEntries: [] }
      throw error
    })
  const [entry] = searchEntries
  return entry !== undefined && searchEntries.length === 1 ? entry : null
}

async function groupsOf(client: Client, settings: Ldap, dn: string, name: string, memberOf: unknown) {
  if (settings.groupBaseDn === '') {
    const dns = texts(memberOf ?? []).slice(0, GROUPS_MAX)
    return [...dns, ...dns.map(commonName)]
  }
  const { searchEntries } = await client.search(settings.groupBaseDn, {
    scope: 'sub',
    filter: filled(settings.groupFilter, { name, dn }),
    attributes: [settings.groupAttribute],
    sizeLimit: GROUPS_MAX,
    timeLimit: Math.ceil(OPERATION_MS / 1000),
  })
  return searchEntries.flatMap((entry) => [entry.dn, ...texts(entry[settings.groupAttribute] ?? [])])
}

/**
 * Null: no such person, or not their password.
 * @throws EngineError sign_in_failed when the directory cannot be asked
 */
export async function ldapSignIn(settings: Ldap, name: string, password: string): Promise<DirectoryPerson | null> {
  // RFC 4513, 5.1.2: a directory takes an empty password for no password at all, and says yes.
  if (password === '' || name === '') return null
  try {
    return await connected(settings, async (client) => {
      const entry = await find(client, settings, name)
      if (entry === null) return null
      const proved = await connected(settings, async (own) => {
        await own.bind(entry.dn, password)
        return true
      }).catch((error: unknown) => {
        if (error instanceof InvalidCredentialsError) return false
        throw error
      })
      if (!proved) return null
      const [written = name] = texts(entry[settings.nameAttribute] ?? name)
      const groups = await groupsOf(client, settings, entry.dn, name, entry.memberOf)
      return { name: written.toLowerCase(), dn: entry.dn, groups }
    })
  } catch (error) {
    throw unreachable(error)
  }
}

/** For the administrator who sets it up: what the directory said. */
export async function ldapCheck(settings: Ldap): Promise<{ ok: boolean; text: string }> {
  try {
    const found = await connected(settings, async (client) => {
      if (settings.bindDn !== '') await client.bind(settings.bindDn, settings.bindPassword ?? '')
      const { searchEntries } = await client.search(settings.baseDn, {
        scope: 'sub',
        filter: settings.filter.replaceAll('{name}', '*'),
        attributes: [settings.nameAttribute],
        sizeLimit: 50,
        timeLimit: Math.ceil(OPERATION_MS / 1000),
      })
      return searchEntries.length
    })
    return {
      ok: found > 0,
      text:
        found > 0 ? 'The directory answers and knows people.' : 'The directory answers, but the search finds nobody.',
    }
  } catch (error) {
    if (error instanceof SizeLimitExceededError) return { ok: true, text: 'The directory answers and knows people.' }
    const why =
      error instanceof InvalidCredentialsError ? 'it refuses the name or password to search with' : reason(error)
    return { ok: false, text: `The directory cannot be used: ${why}.` }
  }
}

const reason = (error: unknown) =>
  (error instanceof Error ? error.message : String(error)).replace(/[\x00-\x1f]+/g, ' ').slice(0, 300)
