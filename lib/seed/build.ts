/** Seed input → the files of its CD and what may be told of them. Pure: hashes and ids are handed in. */
import { parse } from 'yaml'
import type { SeedInput, SeedSummary } from '../schema/seed.ts'
import { metaDataOf, networkConfigOf, userDataOf } from './cloud-config.ts'
import { autoinstallOf, kickstartOf, preseedOf } from './installers.ts'
import { expandVariables, hostNameOf, type SeedVariables } from './variables.ts'
import { autounattendOf } from './windows.ts'
import { checkNetworkConfig, checkUserData, expandYaml, type TextProblem } from './yaml-text.ts'

export interface SeedContext {
  readonly vmName: string
  readonly macs: readonly string[]
  /** Changes with every seed, so that cloud-init takes it for a new instance. */
  readonly instanceId: string
  readonly hash: (clear: string) => string
}

export interface BuiltSeed {
  /** Volume label, by which the guest finds it. */
  readonly label: string
  readonly files: readonly { readonly name: string; readonly content: string }[]
  readonly summary: SeedSummary
}

export type SeedResult =
  | { readonly ok: true; readonly seed: BuiltSeed }
  | { readonly ok: false; readonly field: string; readonly message: string }

/** Labels that systems look for: cloud-init `cidata`, Anaconda `OEMDRV`; the others look for the file. */
const LABELS: Readonly<Record<SeedInput['kind'], string>> = {
  nocloud: 'cidata',
  autoinstall: 'cidata',
  preseed: 'PRESEED',
  kickstart: 'OEMDRV',
  windows: 'UNATTEND',
}

/** Bytes of all files: a first start needs a thousandth of it. */
export const SEED_TOTAL_MAX = 1 << 20

export const SEED_FILES = {
  preseed: 'preseed.cfg',
  kickstart: 'ks.cfg',
  windows: 'autounattend.xml',
} as const

export function buildSeed(input: SeedInput, context: SeedContext): SeedResult {
  const hostName = hostNameOf(input.form?.hostName ?? null, context.vmName, input.index)
  const variables: SeedVariables = { name: context.vmName, index: input.index, hostName, macs: context.macs }
  if (input.form === undefined && input.text === undefined)
    return { ok: false, field: 'seed.text', message: 'A seed needs the form or a text of your own.' }
  const files: { name: string; content: string }[] = []
  switch (input.kind) {
    case 'nocloud': {
      const refused = checked(input.text, (text) => checkUserData(text, 'nocloud'), 'seed.text')
      if (refused !== null) return refused
      const badNetwork = checked(input.networkConfig, checkNetworkConfig, 'seed.networkConfig')
      if (badNetwork !== null) return badNetwork
      const far = input.form?.networks.find(({ card }) => context.macs[card] === undefined)
      if (far !== undefined && input.networkConfig === undefined)
        return {
          ok: false,
          field: 'seed.form.networks',
          message: `There is no network card ${far.card + 1}; add it, or take its addresses out.`,
        }
      const userData = expandYaml(
        input.text ?? (input.form === undefined ? '' : userDataOf(hashed(input.form, context), hostName)),
        variables,
      )
      const network = input.networkConfig ?? networkConfigOf(input.form?.networks ?? [])
      files.push({ name: 'user-data', content: userData })
      files.push({ name: 'meta-data', content: metaDataOf(context.instanceId, ownHostName(userData) ?? hostName) })
      if (network !== null) files.push({ name: 'network-config', content: expandYaml(network, variables, true) })
      break
    }
    case 'autoinstall': {
      const refused = checked(input.text, (text) => checkUserData(text, 'autoinstall'), 'seed.text')
      if (refused !== null) return refused
      const text = input.text ?? (input.form === undefined ? '' : autoinstallOf(hashed(input.form, context), hostName))
      files.push({ name: 'user-data', content: expandYaml(text, variables) })
      files.push({ name: 'meta-data', content: metaDataOf(context.instanceId, hostName) })
      break
    }
    case 'preseed':
    case 'kickstart': {
      const write = input.kind === 'preseed' ? preseedOf : kickstartOf
      const text = input.text ?? (input.form === undefined ? '' : write(hashed(input.form, context), hostName))
      files.push({ name: SEED_FILES[input.kind], content: expandVariables(text, variables) })
      break
    }
    case 'windows': {
      const text = input.text ?? (input.form === undefined ? '' : autounattendOf(input.form, hostName))
      files.push({ name: SEED_FILES.windows, content: expandVariables(text, variables) })
    }
  }
  const bytes = new TextEncoder()
  const sized = files.map(({ name, content }) => ({ name, bytes: bytes.encode(content).length }))
  if (sized.reduce((sum, file) => sum + file.bytes, 0) > SEED_TOTAL_MAX)
    return { ok: false, field: 'seed.text', message: 'The seed is larger than 1 MiB.' }
  return {
    ok: true,
    seed: {
      label: LABELS[input.kind],
      files,
      summary: { ...summaryOf(input, files[0]?.content ?? '', hostName), files: sized },
    },
  }
}

function checked(
  text: string | undefined,
  check: (text: string) => TextProblem[],
  field: string,
): { ok: false; field: string; message: string } | null {
  const fault = text === undefined ? undefined : check(text).find(({ severity }) => severity === 'error')
  if (fault === undefined) return null
  return { ok: false, field, message: sentenceOf(fault) }
}

function sentenceOf({ code, detail, line, column }: TextProblem): string {
  switch (code) {
    case 'no-header':
      return `The first line must be ${detail}, or another header that cloud-init knows.`
    case 'not-a-map':
      return 'The text must be a map: keys with values.'
    case 'no-autoinstall':
      return 'The text has no part called autoinstall.'
    case 'no-version':
      return 'The network configuration has no version.'
    case 'too-long':
      return `The text is longer than ${detail} bytes.`
    default:
      // Without the parser's words: they repeat the text, which may hold secrets, and refusals are logged.
      return `Line ${line}, column ${column}: this is no YAML that cloud-init could read.`
  }
}

function hashed<F extends { password?: string | undefined; passwordHash?: string | undefined }>(
  form: F,
  { hash }: SeedContext,
): Omit<F, 'password'> {
  const { password, ...rest } = form
  return password === undefined ? rest : { ...rest, passwordHash: hash(password) }
}

const asObject = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}

const parsed = (text: string): Readonly<Record<string, unknown>> => {
  if (!text.startsWith('#cloud-config')) return {}
  try {
    return asObject(parse(text, { maxAliasCount: 50 }))
  } catch {
    return {}
  }
}

function ownHostName(userData: string): string | null {
  const { hostname } = parsed(userData)
  return typeof hostname === 'string' && /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/.test(hostname) ? hostname : null
}

const clean = (text: string, max: number): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ').slice(0, max)

function summaryOf(input: SeedInput, text: string, hostName: string): Omit<SeedSummary, 'files'> {
  const byHand = input.text !== undefined
  const network = networkOf(input)
  if (byHand) {
    if (input.kind !== 'nocloud' && input.kind !== 'autoinstall')
      return { hostName: null, users: [], packages: [], commands: 0, network, sections: [], byHand }
    return { ...summaryOfYaml(text), network, byHand }
  }
  const { form } = input
  const common = { hostName, network, byHand, sections: Object.keys(parsed(text)).slice(0, 100) }
  if (form === undefined || input.kind === 'windows') {
    const users = form === undefined ? [] : [{ name: clean(form.userName, 64), keys: 0, hasPassword: true }]
    return { ...common, users, packages: [], commands: 0 }
  }
  // Kinds but Windows have this form.
  const account = form as Exclude<typeof form, { virtioDrivers: unknown }>
  return {
    ...common,
    users: [
      {
        name: account.userName,
        keys: account.sshKeys.length,
        hasPassword: account.password !== undefined || account.passwordHash !== undefined,
      },
    ],
    packages: account.packages,
    commands: account.commands.length,
  }
}

function networkOf(input: SeedInput): SeedSummary['network'] {
  if (input.kind !== 'nocloud') return 'default'
  if (input.networkConfig !== undefined) return 'own'
  const cards = input.form?.networks ?? []
  if (cards.length === 0) return 'default'
  return cards.some(({ mode }) => mode === 'static') ? 'static' : 'dhcp'
}

/** Names and numbers of a text that somebody wrote; anything that could be a secret is only counted. */
function summaryOfYaml(text: string): Omit<SeedSummary, 'files' | 'network' | 'byHand'> {
  const data = parsed(text)
  const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
  const users = list(data.users).map(asObject)
  return {
    hostName: ownHostName(text),
    users: users
      .filter(({ name }) => typeof name === 'string')
      .slice(0, 50)
      .map((user) => ({
        name: clean(String(user.name), 64),
        keys: list(user.ssh_authorized_keys).length,
        hasPassword: ['passwd', 'hashed_passwd', 'plain_text_passwd'].some((key) => typeof user[key] === 'string'),
      })),
    packages: list(data.packages)
      .filter(
        (name): name is string => typeof name === 'string' && /^[A-Za-z0-9@^][A-Za-z0-9+._^:@-]{0,127}$/.test(name),
      )
      .slice(0, 200),
    commands: list(data.runcmd).length + list(data.bootcmd).length,
    sections: Object.keys(data)
      .map((key) => clean(key, 64))
      .slice(0, 100),
  }
}
