/** Environment and flags → one frozen configuration. The only reader of `process.env` outside tests. */
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as z from 'zod'
import { createProxyPolicy } from '#server/auth/client-address.ts'
import { ConfigError } from '#server/config-error.ts'
import { parseAllowList } from '#server/fetch/url-guard.ts'

export interface Config {
  readonly host: string
  readonly port: number
  readonly dataDir: string
  readonly runDir: string
  /** Path or name of the system emulator. */
  readonly qemu: string
  /** What `auto` may choose from. */
  readonly accel: 'auto' | 'kvm' | 'tcg'
  /** Where guests get control groups: `auto`, `off`, or the path of a group below the mount point. */
  readonly cgroup: string
  /** Lock QEMU in with bubblewrap where guests have no users of their own. */
  readonly confine: 'auto' | 'off'
  /** `off`: a dashboard that root has started stays root. */
  readonly launcher: 'auto' | 'off'
  readonly dev: boolean
  /** Serve the API alone, without pages: for benches and tests. */
  readonly apiOnly: boolean
  /** Directories whose files an administrator may register as images. */
  readonly imageDirs: readonly string[]
  /** Directories below which an administrator may share directories with guests. */
  readonly shareDirs: readonly string[]
  /** Directories at or below which an administrator may make storage pools. */
  readonly poolDirs: readonly string[]
  /** Days that removed disks stay in the trash; 0: none. */
  readonly trashDays: number
  /** Administrators may give QEMU raw options. */
  readonly allowRawArgs: boolean
  /** Extra host names the dashboard may be called by (reverse proxy). */
  readonly allowedHosts: readonly string[]
  /** Allow plain HTTP on an address other than loopback. */
  readonly insecureHttp: boolean
  /** Where the certificate comes from; `off`: plain HTTP. */
  readonly tls: 'off' | 'self-signed' | 'files' | 'acme'
  /** PEM files; both are there where `tls` is `files`. */
  readonly tlsCert: string | null
  readonly tlsKey: string | null
  /** DNS names and addresses for the certificate. */
  readonly tlsNames: readonly string[]
  readonly acmeDirectory: string
  /** PEM of the authority's root, where the system does not know it. */
  readonly acmeCaFile: string | null
  readonly acmeContact: string | null
  /** Addresses and networks of reverse proxies whose forwarding headers are believed. */
  readonly trustedProxies: readonly string[]
  /** Hosts, addresses and networks that downloads may reach although they are not public. */
  readonly downloadAllow: readonly string[]
  /** The operator's additions to the catalogue of images; null: where the data directory has them. */
  readonly catalogueFile: string | null
  /** Fetch all of the catalogue from this address instead, as ADDRESS/HOST/PATH. */
  readonly catalogueMirror: string | null
  /** Where the activity log is sent as well: `udp://` or `tcp://` of a syslog server, a webhook. */
  readonly auditSyslog: URL | null
  readonly auditWebhook: URL | null
  /** File with the key that webhook bodies are signed with. */
  readonly auditWebhookSecretFile: string | null
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
}

const Environment = z.object({
  GUESTDECK_HOST: z.string().min(1).default('127.0.0.1'),
  GUESTDECK_PORT: z.coerce.number().int().min(0).max(65_535).default(8686),
  GUESTDECK_DATA: z.string().min(1).optional(),
  GUESTDECK_RUN: z.string().min(1).optional(),
  GUESTDECK_QEMU: z.string().min(1).default('qemu-system-x86_64'),
  GUESTDECK_ACCEL: z.enum(['auto', 'kvm', 'tcg']).default('auto'),
  GUESTDECK_CGROUP: z
    .union([z.enum(['auto', 'off']), z.string().regex(/^(\/(?!\.\.?(\/|$))[A-Za-z0-9_.@:-]+)+$/)])
    .default('auto'),
  GUESTDECK_LAUNCHER: z.enum(['auto', 'off']).default('auto'),
  GUESTDECK_CONFINE: z.enum(['auto', 'off']).default('auto'),
  GUESTDECK_IMAGE_DIRS: z.string().default(''),
  GUESTDECK_SHARE_DIRS: z.string().default(''),
  GUESTDECK_POOL_DIRS: z.string().default('/srv:/mnt:/media'),
  GUESTDECK_TRASH_DAYS: z.coerce.number().int().min(0).max(3650).default(7),
  GUESTDECK_ALLOW_RAW_ARGS: z.enum(['0', '1', '']).default(''),
  GUESTDECK_ALLOWED_HOSTS: z.string().default(''),
  GUESTDECK_INSECURE_HTTP: z.enum(['0', '1', '']).default(''),
  GUESTDECK_TLS: z.enum(['', 'off', 'self-signed', 'files', 'acme']).default(''),
  GUESTDECK_TLS_CERT: z.string().min(1).optional(),
  GUESTDECK_TLS_KEY: z.string().min(1).optional(),
  GUESTDECK_TLS_NAMES: z.string().default(''),
  GUESTDECK_ACME_DIRECTORY: z.url({ protocol: /^https$/ }).default('https://acme-v02.api.letsencrypt.org/directory'),
  GUESTDECK_ACME_CA: z.string().min(1).optional(),
  GUESTDECK_ACME_CONTACT: z.email().optional(),
  GUESTDECK_TRUSTED_PROXIES: z.string().default(''),
  GUESTDECK_DOWNLOAD_ALLOW: z.string().default(''),
  GUESTDECK_CATALOGUE: z.string().default(''),
  GUESTDECK_CATALOGUE_MIRROR: z.union([z.literal(''), z.url({ protocol: /^https?$/ })]).default(''),
  GUESTDECK_AUDIT_SYSLOG: z.url({ protocol: /^(udp|tcp)$/ }).optional(),
  GUESTDECK_AUDIT_WEBHOOK: z.url({ protocol: /^https?$/ }).optional(),
  GUESTDECK_AUDIT_WEBHOOK_SECRET_FILE: z.string().min(1).optional(),
  GUESTDECK_LOG: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  XDG_DATA_HOME: z.string().optional(),
  XDG_RUNTIME_DIR: z.string().optional(),
  HOME: z.string().optional(),
})

export interface Flags {
  host?: string
  port?: string
  data?: string
  dev?: boolean
  apiOnly?: boolean
  insecureHttp?: boolean
  tls?: string
}

const list = (text: string, separator: string) =>
  text
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== '')

/** @throws ConfigError naming the entry at fault */
function downloadAllow(text: string): string[] {
  const entries = list(text, ',')
  try {
    parseAllowList(entries)
  } catch (error) {
    throw new ConfigError(`GUESTDECK_DOWNLOAD_ALLOW: ${error instanceof Error ? error.message : 'invalid'}`)
  }
  return entries
}

type TlsConfig = Pick<
  Config,
  'tls' | 'tlsCert' | 'tlsKey' | 'tlsNames' | 'acmeDirectory' | 'acmeCaFile' | 'acmeContact'
>

/** @throws ConfigError when a file or a name is missing */
function tlsOf(e: z.output<typeof Environment>): TlsConfig {
  const { GUESTDECK_TLS_CERT: cert = null, GUESTDECK_TLS_KEY: key = null } = e
  const hasFiles = cert !== null || key !== null
  const tls = e.GUESTDECK_TLS === '' ? (hasFiles ? 'files' : 'off') : e.GUESTDECK_TLS
  if (tls === 'files' && (cert === null || key === null)) {
    throw new ConfigError('GUESTDECK_TLS: give both files, GUESTDECK_TLS_CERT and GUESTDECK_TLS_KEY.')
  }
  const tlsNames = list(e.GUESTDECK_TLS_NAMES, ',').map((name) => name.toLowerCase())
  for (const name of tlsNames) {
    const isName =
      isIP(name) !== 0 || /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(name)
    if (!isName)
      throw new ConfigError(`GUESTDECK_TLS_NAMES: ${name.slice(0, 80)} is neither a host name nor an address.`)
    if (tls === 'acme' && isIP(name) !== 0)
      throw new ConfigError('GUESTDECK_TLS_NAMES: ACME certifies host names only.')
  }
  if (tls === 'acme' && tlsNames.length === 0) {
    throw new ConfigError('GUESTDECK_TLS_NAMES: ACME needs the host names to certify.')
  }
  return {
    tls,
    tlsCert: cert,
    tlsKey: key,
    tlsNames,
    acmeDirectory: e.GUESTDECK_ACME_DIRECTORY,
    acmeCaFile: e.GUESTDECK_ACME_CA ?? null,
    acmeContact: e.GUESTDECK_ACME_CONTACT ?? null,
  }
}

/** @throws ConfigError naming the entry at fault */
function trustedProxies(text: string): string[] {
  const entries = list(text, ',')
  try {
    createProxyPolicy(entries)
  } catch (error) {
    throw new ConfigError(`GUESTDECK_TRUSTED_PROXIES: ${error instanceof Error ? error.message : 'invalid'}`)
  }
  return entries
}

/**
 * Flags win over the environment; both over the defaults.
 * @throws ConfigError naming the variable at fault
 */
export function readConfig(env: NodeJS.ProcessEnv, flags: Flags, isRoot: boolean): Config {
  const parsed = Environment.safeParse({
    ...env,
    ...(flags.host !== undefined && { GUESTDECK_HOST: flags.host }),
    ...(flags.port !== undefined && { GUESTDECK_PORT: flags.port }),
    ...(flags.data !== undefined && { GUESTDECK_DATA: flags.data }),
    ...(flags.tls !== undefined && { GUESTDECK_TLS: flags.tls }),
  })
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new ConfigError(`${issue?.path.join('.') ?? 'environment'}: ${issue?.message ?? 'invalid'}`)
  }
  const e = parsed.data
  const home = e.HOME ?? '/'
  const dataDir =
    e.GUESTDECK_DATA ??
    (isRoot ? '/var/lib/guestdeck' : join(e.XDG_DATA_HOME ?? join(home, '.local/share'), 'guestdeck'))
  const runDir =
    e.GUESTDECK_RUN ?? (isRoot ? '/run/guestdeck' : join(e.XDG_RUNTIME_DIR ?? join(home, '.local/run'), 'guestdeck'))
  return Object.freeze({
    host: e.GUESTDECK_HOST,
    port: e.GUESTDECK_PORT,
    dataDir,
    runDir,
    qemu: e.GUESTDECK_QEMU,
    accel: e.GUESTDECK_ACCEL,
    cgroup: e.GUESTDECK_CGROUP,
    launcher: e.GUESTDECK_LAUNCHER,
    confine: e.GUESTDECK_CONFINE,
    dev: flags.dev === true,
    apiOnly: flags.apiOnly === true,
    imageDirs: list(e.GUESTDECK_IMAGE_DIRS, ':'),
    shareDirs: list(e.GUESTDECK_SHARE_DIRS, ':'),
    poolDirs: list(e.GUESTDECK_POOL_DIRS, ':'),
    trashDays: e.GUESTDECK_TRASH_DAYS,
    allowRawArgs: e.GUESTDECK_ALLOW_RAW_ARGS === '1',
    allowedHosts: list(e.GUESTDECK_ALLOWED_HOSTS, ','),
    insecureHttp: flags.insecureHttp === true || e.GUESTDECK_INSECURE_HTTP === '1',
    ...tlsOf(e),
    trustedProxies: trustedProxies(e.GUESTDECK_TRUSTED_PROXIES),
    downloadAllow: downloadAllow(e.GUESTDECK_DOWNLOAD_ALLOW),
    catalogueFile: e.GUESTDECK_CATALOGUE === '' ? null : e.GUESTDECK_CATALOGUE,
    catalogueMirror: e.GUESTDECK_CATALOGUE_MIRROR === '' ? null : e.GUESTDECK_CATALOGUE_MIRROR.replace(/\/+$/, ''),
    auditSyslog: e.GUESTDECK_AUDIT_SYSLOG === undefined ? null : new URL(e.GUESTDECK_AUDIT_SYSLOG),
    auditWebhook: e.GUESTDECK_AUDIT_WEBHOOK === undefined ? null : new URL(e.GUESTDECK_AUDIT_WEBHOOK),
    auditWebhookSecretFile: e.GUESTDECK_AUDIT_WEBHOOK_SECRET_FILE ?? null,
    logLevel: e.GUESTDECK_LOG,
  })
}
