/** What somebody fills in for a first start, as the form holds it; and what the API gets of it. Pure. */
import type { SeedCard, SeedInputInput, SeedKind } from '#lib/schema/seed.ts'

export interface CardDraft {
  readonly card: number
  readonly addresses: string
  readonly gateways: string
  readonly nameServers: string
}

export interface SeedDraft {
  readonly kind: SeedKind
  readonly userName: string
  /** In memory of this page alone, until the server has hashed it. */
  readonly password: string
  /** Hash that a text was written with, or read from it. */
  readonly passwordHash: string | null
  readonly keys: string
  readonly sudo: boolean
  readonly sshPassword: boolean
  readonly hostName: string
  readonly fullName: string
  readonly keyboard: string
  readonly timeZone: string
  readonly locale: string
  readonly packages: string
  readonly commands: string
  readonly upgrade: boolean
  /** Cards with addresses of their own; the others ask by DHCP. */
  readonly cards: readonly CardDraft[]
  readonly edition: string
  readonly productKey: string
  readonly virtioDrivers: string
  readonly uefi: boolean
  readonly removeAfterUse: boolean
  /** By hand, instead of what the form says; null: the form. */
  readonly text: string | null
  readonly networkText: string | null
}

export interface SeedFieldsProps {
  readonly draft: SeedDraft
  readonly onDraft: (draft: SeedDraft) => void
  /** Dotted path below `seed`: `form.userName`. */
  readonly errorOf: (field: string) => string | undefined
  /** Network cards of the VM. */
  readonly cards: number
}

export const emptySeed = (kind: SeedKind): SeedDraft => ({
  kind,
  userName: '',
  password: '',
  passwordHash: null,
  keys: '',
  sudo: true,
  sshPassword: false,
  hostName: '',
  fullName: '',
  keyboard: 'us',
  timeZone: '',
  locale: '',
  packages: '',
  commands: '',
  upgrade: false,
  cards: [],
  edition: '',
  productKey: '',
  virtioDrivers: '',
  uefi: true,
  // Answers of Windows hold the password itself.
  removeAfterUse: kind === 'windows',
  text: null,
  networkText: null,
})

const words = (text: string): string[] => text.split(/[\s,]+/).filter((word) => word !== '')
const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
const orNull = (text: string): string | null => (text.trim() === '' ? null : text.trim())

const cardInput = ({ card, addresses, gateways, nameServers }: CardDraft): SeedCard => ({
  card,
  mode: 'static',
  addresses: words(addresses),
  gateways: words(gateways),
  nameServers: words(nameServers),
  searchDomains: [],
})

const account = (draft: SeedDraft) => ({
  userName: draft.userName.trim(),
  ...(draft.password !== ''
    ? { password: draft.password }
    : draft.passwordHash === null
      ? {}
      : { passwordHash: draft.passwordHash }),
  sshKeys: lines(draft.keys),
  hostName: orNull(draft.hostName),
  timeZone: orNull(draft.timeZone),
  packages: words(draft.packages),
  commands: lines(draft.commands),
})

/** Form of cloud-init; the password aside it is what the YAML is written from. */
export const cloudForm = (draft: SeedDraft) => {
  const statics = draft.cards.map(cardInput)
  const known = new Set(statics.map(({ card }) => card))
  // A file that names one card names all: those left out would stay without an address.
  const first =
    statics.length > 0 && !known.has(0)
      ? [{ ...cardInput({ card: 0, addresses: '', gateways: '', nameServers: '' }), mode: 'dhcp' as const }]
      : []
  return {
    ...account(draft),
    locale: orNull(draft.locale),
    sudo: draft.sudo,
    sshPassword: draft.sshPassword,
    upgrade: draft.upgrade,
    networks: [...first, ...statics],
  }
}

export function toSeedInput(draft: SeedDraft): SeedInputInput {
  const { kind, removeAfterUse } = draft
  const text = draft.text === null ? {} : { text: draft.text }
  switch (kind) {
    case 'nocloud':
      return {
        kind,
        removeAfterUse,
        ...text,
        ...(draft.text === null || draft.cards.length > 0 ? { form: cloudForm(draft) } : {}),
        ...(draft.networkText === null ? {} : { networkConfig: draft.networkText }),
      }
    case 'windows':
      return {
        kind,
        removeAfterUse,
        ...text,
        ...(draft.text === null
          ? {
              form: {
                userName: draft.userName.trim(),
                password: draft.password,
                hostName: orNull(draft.hostName),
                ...(draft.locale === '' ? {} : { locale: draft.locale.trim() }),
                ...(draft.timeZone === '' ? {} : { timeZone: draft.timeZone.trim() }),
                edition: orNull(draft.edition),
                productKey: orNull(draft.productKey),
                uefi: draft.uefi,
                virtioDrivers: orNull(draft.virtioDrivers) as 'w11' | null,
              },
            }
          : {}),
      }
    default:
      return {
        kind,
        removeAfterUse,
        ...text,
        ...(draft.text === null
          ? {
              form: {
                ...account(draft),
                locale: orNull(draft.locale),
                fullName: draft.fullName.trim(),
                keyboard: draft.keyboard.trim(),
              },
            }
          : {}),
      }
  }
}

/** The same for a preview, which needs no password: it is asked for while somebody types. */
export function forPreview(draft: SeedDraft): SeedInputInput {
  return toSeedInput({ ...draft, password: draft.password === '' ? '' : 'x'.repeat(8), passwordHash: null })
}

/** Into the draft what a form says; the texts of the lists as people write them. */
export function fromCloudForm(
  draft: SeedDraft,
  form: {
    readonly userName: string
    readonly passwordHash?: string | undefined
    readonly sshKeys: readonly string[]
    readonly hostName: string | null
    readonly timeZone: string | null
    readonly locale: string | null
    readonly packages: readonly string[]
    readonly commands: readonly string[]
    readonly sudo: boolean
    readonly sshPassword: boolean
    readonly upgrade: boolean
  },
): SeedDraft {
  return {
    ...draft,
    userName: form.userName,
    password: '',
    passwordHash: form.passwordHash ?? null,
    keys: form.sshKeys.join('\n'),
    hostName: form.hostName ?? '',
    timeZone: form.timeZone ?? '',
    locale: form.locale ?? '',
    packages: form.packages.join(' '),
    commands: form.commands.join('\n'),
    sudo: form.sudo,
    sshPassword: form.sshPassword,
    upgrade: form.upgrade,
    text: null,
  }
}
