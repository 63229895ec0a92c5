/**
 * Seeds: what an installer or a cloud image reads at its first start, on a small CD of its own.
 *
 * `SeedInput` is what create and replace take. It holds secrets (password hashes, keys, user-data), so nothing of it is
 * stored but in the CD's file: what the API answers is `SeedView`, which tells how it is made up and repeats no text.
 */
import * as z from 'zod'
import { SEED_TEXT_MAX } from '../seed/limits.ts'
import { Instant, SeedId } from './ids.ts'
import { CdBus } from './vm-spec/drives.ts'

export const SeedKind = z.enum(['nocloud', 'autoinstall', 'preseed', 'kickstart', 'windows']).meta({ id: 'SeedKind' })
export type SeedKind = z.output<typeof SeedKind>

/** One line, without control characters: line breaks would start an option of their own in some formats. */
const Line = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, 'one line, without control characters')

export const LoginName = z
  .string()
  .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'a small letter first; then small letters, digits, _ and - (up to 32)')

/** Letters, digits and - with {name} and {index} put in. The result is made a valid name of a host. */
export const HostNamePattern = z
  .string()
  .max(63)
  .regex(/^[A-Za-z0-9{][A-Za-z0-9{}.-]*$/, 'letters, digits, - and . ; also {name} and {index}')

export const PublicKey = z
  .string()
  .max(8192)
  .regex(
    /^(ssh-(rsa|ed25519|dss)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{20,}={0,3}( [A-Za-z0-9@._+:() -]{0,200})?$/,
    'a public key as in id_ed25519.pub: type, key and perhaps a comment, on one line',
  )

/** crypt(3): SHA-256, SHA-512, yescrypt or bcrypt. */
export const PasswordHash = z
  .string()
  .max(256)
  .regex(/^\$(5|6|y|gy|2[aby])\$[./A-Za-z0-9$=,]{8,}$/, 'a crypt(3) hash such as $6$…')

export const ClearPassword = Line(256).min(1)

const PackageName = z.string().regex(/^[A-Za-z0-9@^][A-Za-z0-9+._^:@-]{0,127}$/, 'name of a package')
const Packages = z.array(PackageName).max(200)
/** A shell command. */
const Commands = z.array(Line(4096).min(1)).max(100)
const TimeZone = z.string().regex(/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/, 'a time zone such as Europe/Berlin')
const Locale = z.string().regex(/^[A-Za-z][A-Za-z0-9_.@-]{0,31}$/, 'a locale such as en_US.UTF-8')
const KeyboardLayout = z.string().regex(/^[a-z][a-z0-9_-]{0,15}$/, 'a keyboard layout such as us or de')

const IPV4 = /^(\d{1,3}\.){3}\d{1,3}$/
const isAddress = (text: string): boolean =>
  (IPV4.test(text) && text.split('.').every((part) => Number(part) <= 255)) ||
  (text.includes(':') && /^[0-9a-fA-F:]{2,39}$/.test(text))
export const IpAddress = z.string().refine(isAddress, 'an IPv4 or IPv6 address')
export const IpWithPrefix = z.string().refine((text) => {
  const [address = '', prefix = '', ...more] = text.split('/')
  if (more.length > 0 || !/^\d{1,3}$/.test(prefix) || !isAddress(address)) return false
  return Number(prefix) <= (address.includes(':') ? 128 : 32)
}, 'an address with its prefix, such as 192.0.2.10/24')

/** The addresses of one network card, by its place in the definition. */
export const SeedCard = z.strictObject({
  card: z.int().min(0).max(7),
  mode: z.enum(['dhcp', 'static']),
  addresses: z.array(IpWithPrefix).max(16).default([]),
  gateways: z.array(IpAddress).max(2).default([]),
  nameServers: z.array(IpAddress).max(8).default([]),
  searchDomains: z
    .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/, 'a domain'))
    .max(8)
    .default([]),
})
export type SeedCard = z.output<typeof SeedCard>

const account = {
  userName: LoginName,
  /** Hashed as soon as it arrives; never stored. */
  password: ClearPassword.optional(),
  passwordHash: PasswordHash.optional(),
  sshKeys: z.array(PublicKey).max(50).default([]),
  /** Null: the VM's name. */
  hostName: HostNamePattern.nullable().default(null),
  timeZone: TimeZone.nullable().default(null),
  locale: Locale.nullable().default(null),
  packages: Packages.default([]),
  commands: Commands.default([]),
}

export const CloudForm = z
  .strictObject({
    ...account,
    /** May become root without a password. */
    sudo: z.boolean().default(true),
    /** Whether ssh takes the password too. */
    sshPassword: z.boolean().default(false),
    upgrade: z.boolean().default(false),
    networks: z.array(SeedCard).max(8).default([]),
  })
  .meta({ id: 'CloudForm' })
export type CloudForm = z.output<typeof CloudForm>
export type CloudFormInput = z.input<typeof CloudForm>

/** One system on the whole first disk. */
export const InstallerForm = z
  .strictObject({
    ...account,
    fullName: Line(128).default(''),
    keyboard: KeyboardLayout.default('us'),
  })
  .meta({ id: 'InstallerForm' })
export type InstallerForm = z.output<typeof InstallerForm>

export const WindowsForm = z
  .strictObject({
    userName: z
      .string()
      .regex(/^[^\p{Cc}"/\\[\]:;|=,+*?<>@]{1,20}$/u, 'up to 20 characters, none of " / \\ [ ] : ; | = , + * ? < > @'),
    /** Windows takes no hash: it is in the answer file, encoded. */
    password: ClearPassword,
    hostName: HostNamePattern.nullable().default(null),
    locale: z
      .string()
      .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}$/, 'a language such as en-US')
      .default('en-US'),
    timeZone: Line(64).default('UTC'),
    /** Name of the edition on the medium, such as “Windows 11 Pro”; null: Windows asks, unless the key decides. */
    edition: Line(128).nullable().default(null),
    productKey: z
      .string()
      .regex(/^([A-Z0-9]{5}-){4}[A-Z0-9]{5}$/, 'five groups of five letters and digits')
      .nullable()
      .default(null),
    uefi: z.boolean().default(true),
    /** Folder names of the driver CD, such as w11; null: no drivers are looked for. */
    virtioDrivers: z.enum(['w11', 'w10', '2k25', '2k22', '2k19', '2k16']).nullable().default(null),
  })
  .meta({ id: 'WindowsForm' })
export type WindowsForm = z.output<typeof WindowsForm>

const SeedText = z
  .string()
  .min(1)
  .max(SEED_TEXT_MAX)
  .refine((text) => !text.includes('\0'), 'must be text')

const common = {
  /** Instead of what the form would write; variables are put in. */
  text: SeedText.optional(),
  /** Takes the CD out and deletes its file once the guest has used it. */
  removeAfterUse: z.boolean().default(false),
  /** What the CD drive sits on; by default one that the guest has a driver for. */
  bus: CdBus.optional(),
  /** Of several VMs made at once: what {index} stands for. */
  index: z.int().min(1).max(9999).default(1),
}

export const SeedInput = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('nocloud'),
      form: CloudForm.optional(),
      /** Instead of what the form would write; {mac0} is the address of the first card. */
      networkConfig: SeedText.optional(),
      ...common,
    }),
    z.strictObject({ kind: z.literal('autoinstall'), form: InstallerForm.optional(), ...common }),
    z.strictObject({ kind: z.literal('preseed'), form: InstallerForm.optional(), ...common }),
    z.strictObject({ kind: z.literal('kickstart'), form: InstallerForm.optional(), ...common }),
    z.strictObject({ kind: z.literal('windows'), form: WindowsForm.optional(), ...common }),
  ])
  .meta({ id: 'SeedInput' })
export type SeedInput = z.output<typeof SeedInput>
export type SeedInputInput = z.input<typeof SeedInput>

/** How a seed is made up. Names and numbers, none of its text. */
export const SeedSummary = z
  .strictObject({
    hostName: z.string().max(253).nullable(),
    users: z
      .array(z.strictObject({ name: z.string().max(64), keys: z.int().min(0), hasPassword: z.boolean() }))
      .max(50),
    packages: z.array(z.string().max(128)).max(200),
    /** Commands it runs. */
    commands: z.int().min(0),
    network: z.enum(['default', 'dhcp', 'static', 'own']),
    /** Top-level parts of the text, such as `users` and `runcmd`. */
    sections: z.array(z.string().max(64)).max(100),
    files: z.array(z.strictObject({ name: z.string(), bytes: z.int().min(0) })).max(16),
    /** The text was written by hand, not by the form. */
    byHand: z.boolean(),
  })
  .meta({ id: 'SeedSummary' })
export type SeedSummary = z.output<typeof SeedSummary>

export const SeedState = z.enum(['waiting', 'used', 'removed']).meta({ id: 'SeedState' })
export type SeedState = z.output<typeof SeedState>

export const SeedView = z
  .strictObject({
    id: SeedId,
    kind: SeedKind,
    state: SeedState,
    /** CD drive it is in; null once removed. */
    drive: z.string().nullable(),
    /** Whether the running guest has it in its drive. */
    inserted: z.boolean(),
    removeAfterUse: z.boolean(),
    label: z.string(),
    sizeBytes: z.int().min(0),
    summary: SeedSummary,
    by: z.string(),
    createdAt: Instant,
    usedAt: Instant.nullable(),
    removedAt: Instant.nullable(),
    /** What made it count as used, as a sentence. */
    usedWhy: z.string().nullable(),
  })
  .meta({ id: 'SeedView' })
export type SeedView = z.output<typeof SeedView>
