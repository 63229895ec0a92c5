'use client'
import { Plus, Trash2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useEffect, useRef, useState } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Disclosure, Skeleton } from '#components/ui/feedback.tsx'
import { Select, TextArea, TextField } from '#components/ui/field.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { recall, remember } from '#lib/client/preferences.ts'
import { toastError } from '#lib/client/toasts.ts'
import { seed as messages } from '#lib/i18n/messages/en/seed.ts'
import { type CardDraft, emptySeed, type SeedDraft, type SeedFieldsProps } from './seed-draft.ts'

const SeedText = dynamic(() => import('./seed-text.tsx').then((part) => part.SeedText), {
  ssr: false,
  loading: () => <Skeleton className="h-48 w-full" />,
})

/** Public keys alone, and in this browser alone. */
const KEYS_KEY = 'seed.keys'
const isText = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)
export const rememberKeys = (draft: SeedDraft): void => {
  if (draft.keys.trim() !== '') remember(KEYS_KEY, draft.keys)
}

export const SEED_KINDS = ['nocloud', 'autoinstall', 'preseed', 'kickstart', 'windows'] as const

/** The form of one kind, and the text it writes. */
export function SeedFields(props: SeedFieldsProps) {
  const t = useT(messages)
  const { draft, onDraft } = props
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <p className="max-w-prose text-dim text-sm">{t(`how.${draft.kind}`)}</p>
      {draft.text === null ? <Form {...props} /> : <SeedText draft={draft} onDraft={onDraft} errorOf={props.errorOf} />}
      <Checkbox
        label={t('remove')}
        hint={t('removeHint')}
        checked={draft.removeAfterUse}
        onChange={(event) => onDraft({ ...draft, removeAfterUse: event.target.checked })}
      />
    </div>
  )
}

function Form({ draft, onDraft, errorOf, cards }: SeedFieldsProps) {
  const t = useT(messages)
  const [isOpening, setOpening] = useState(false)
  const set = (change: Partial<SeedDraft>) => onDraft({ ...draft, ...change })
  const isWindows = draft.kind === 'windows'
  const isCloud = draft.kind === 'nocloud'
  const error = (field: string) => errorOf(`form.${field}`)
  const keyError = error('sshKeys') ?? firstBelow(errorOf, 'form.sshKeys')
  return (
    <>
      <div className="grid gap-4 sm:grid-cols-2">
        <TextField
          label={t('user')}
          hint={t(isWindows ? 'userWindowsHint' : 'userHint')}
          mono
          spellCheck={false}
          maxLength={32}
          value={draft.userName}
          onChange={(event) => set({ userName: event.target.value })}
          error={error('userName')}
        />
        <TextField
          label={t('hostName')}
          hint={t('hostNameHint', { open: '{', close: '}' })}
          mono
          spellCheck={false}
          maxLength={63}
          value={draft.hostName}
          onChange={(event) => set({ hostName: event.target.value })}
          error={error('hostName')}
        />
      </div>
      {!isWindows && <Keys draft={draft} set={set} error={keyError} />}
      <div className="grid gap-4 sm:grid-cols-2">
        <TextField
          label={t('password')}
          hint={draft.passwordHash !== null ? t('passwordKept') : t(isWindows ? 'passwordWindowsHint' : 'passwordHint')}
          type="password"
          autoComplete="new-password"
          maxLength={256}
          value={draft.password}
          onChange={(event) => set({ password: event.target.value })}
          error={error('password')}
        />
        {isCloud && (
          <div className="flex flex-col gap-2 sm:pt-6">
            <Checkbox
              label={t('sudo')}
              checked={draft.sudo}
              onChange={(event) => set({ sudo: event.target.checked })}
            />
            <Checkbox
              label={t('sshPassword')}
              checked={draft.sshPassword}
              onChange={(event) => set({ sshPassword: event.target.checked })}
            />
          </div>
        )}
        {isWindows && (
          <TextField
            label={t('edition')}
            hint={t('editionHint')}
            value={draft.edition}
            maxLength={128}
            onChange={(event) => set({ edition: event.target.value })}
            error={error('edition')}
          />
        )}
      </div>
      <Disclosure summary={t('more')}>
        <div className="flex flex-col gap-4 pt-3">
          {isWindows ? (
            <WindowsMore draft={draft} set={set} error={error} />
          ) : (
            <LinuxMore
              draft={draft}
              set={set}
              error={error}
              firstError={(field) => firstBelow(errorOf, `form.${field}`)}
            />
          )}
          {isCloud && <Network draft={draft} set={set} cards={cards} errorOf={errorOf} />}
        </div>
      </Disclosure>
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <Button size="sm" pending={isOpening} onClick={() => void openText(draft, onDraft, setOpening, t('noText'))}>
          {t('byText')}
        </Button>
        <span className="text-faint text-sm">{t('byTextHint')}</span>
      </div>
    </>
  )
}

/** The password is hashed on the server before a text is written: none has it in clear. */
async function openText(
  draft: SeedDraft,
  onDraft: (draft: SeedDraft) => void,
  setOpening: (opening: boolean) => void,
  title: string,
): Promise<void> {
  setOpening(true)
  try {
    const { textWith } = await import('./seed-text.tsx')
    onDraft(await textWith(draft))
  } catch (cause) {
    toastError(toApiError(cause), title)
  } finally {
    setOpening(false)
  }
}

/** Lists are refused by element: `form.sshKeys.1`. */
const firstBelow = (errorOf: SeedFieldsProps['errorOf'], field: string): string | undefined => {
  for (let n = 0; n < 100; n += 1) {
    const found = errorOf(`${field}.${n}`)
    if (found !== undefined) return `${n + 1}: ${found}`
  }
  return undefined
}

interface PartProps {
  readonly draft: SeedDraft
  readonly set: (change: Partial<SeedDraft>) => void
}

function Keys({ draft, set, error }: PartProps & { readonly error: string | undefined }) {
  const t = useT(messages)
  const file = useRef<HTMLInputElement>(null)
  const [last, setLast] = useState<string | null>(null)
  const [unread, setUnread] = useState(false)
  useEffect(() => setLast(recall(KEYS_KEY, isText)), [])
  const add = (text: string) => {
    const known = draft.keys.trim()
    set({ keys: known === '' ? text.trim() : `${known}\n${text.trim()}` })
  }
  return (
    <div className="flex flex-col gap-2">
      <TextArea
        label={t('keys')}
        hint={unread ? t('keysUnread') : t('keysHint')}
        mono
        spellCheck={false}
        rows={3}
        value={draft.keys}
        onChange={(event) => set({ keys: event.target.value })}
        error={error}
      />
      <div className="flex flex-wrap gap-2">
        <Button size="sm" onClick={() => file.current?.click()}>
          {t('keysFile')}
        </Button>
        <input
          ref={file}
          type="file"
          accept=".pub,text/plain"
          aria-label={t('keysFile')}
          className="sr-only"
          tabIndex={-1}
          onChange={(event) => {
            const chosen = event.target.files?.[0]
            event.target.value = ''
            // A private key, or anything large, is no public key.
            if (chosen === undefined || chosen.size > 65_536) return setUnread(chosen !== undefined)
            chosen.text().then(
              (text) => {
                const isPrivate = /PRIVATE KEY/.test(text)
                setUnread(isPrivate)
                if (!isPrivate) add(text)
              },
              () => setUnread(true),
            )
          }}
        />
        {last !== null && last.trim() !== draft.keys.trim() && (
          <Button size="sm" onClick={() => add(last)}>
            {t('keysLast')}
          </Button>
        )}
      </div>
    </div>
  )
}

function LinuxMore({
  draft,
  set,
  error,
  firstError,
}: PartProps & {
  readonly error: (field: string) => string | undefined
  readonly firstError: (field: string) => string | undefined
}) {
  const t = useT(messages)
  const isCloud = draft.kind === 'nocloud'
  return (
    <>
      <TextField
        label={t('packages')}
        hint={t('packagesHint')}
        mono
        spellCheck={false}
        value={draft.packages}
        onChange={(event) => set({ packages: event.target.value })}
        error={error('packages') ?? firstError('packages')}
      />
      {isCloud && (
        <Checkbox
          label={t('upgrade')}
          checked={draft.upgrade}
          onChange={(event) => set({ upgrade: event.target.checked })}
        />
      )}
      <TextArea
        label={t('commands')}
        hint={t('commandsHint')}
        mono
        spellCheck={false}
        value={draft.commands}
        onChange={(event) => set({ commands: event.target.value })}
        error={error('commands') ?? firstError('commands')}
      />
      <div className="grid gap-4 sm:grid-cols-2">
        <TextField
          label={t('timeZone')}
          placeholder="Etc/UTC"
          value={draft.timeZone}
          onChange={(event) => set({ timeZone: event.target.value })}
          error={error('timeZone')}
        />
        <TextField
          label={t('locale')}
          placeholder="en_US.UTF-8"
          value={draft.locale}
          onChange={(event) => set({ locale: event.target.value })}
          error={error('locale')}
        />
        {!isCloud && (
          <>
            <TextField
              label={t('keyboard')}
              value={draft.keyboard}
              onChange={(event) => set({ keyboard: event.target.value })}
              error={error('keyboard')}
            />
            <TextField
              label={t('fullName')}
              value={draft.fullName}
              onChange={(event) => set({ fullName: event.target.value })}
              error={error('fullName')}
            />
          </>
        )}
      </div>
    </>
  )
}

const DRIVER_SETS = ['w11', 'w10', '2k25', '2k22', '2k19', '2k16'] as const

function WindowsMore({ draft, set, error }: PartProps & { readonly error: (field: string) => string | undefined }) {
  const t = useT(messages)
  return (
    <div className="grid gap-4 sm:grid-cols-2">
      <TextField
        label={t('productKey')}
        mono
        placeholder="XXXXX-XXXXX-XXXXX-XXXXX-XXXXX"
        value={draft.productKey}
        onChange={(event) => set({ productKey: event.target.value })}
        error={error('productKey')}
      />
      <Select
        label={t('drivers')}
        value={draft.virtioDrivers}
        onChange={(event) => set({ virtioDrivers: event.target.value })}
        options={[{ value: '', label: t('driversNone') }, ...DRIVER_SETS.map((name) => ({ value: name, label: name }))]}
      />
      <TextField
        label={t('locale')}
        placeholder="en-US"
        value={draft.locale}
        onChange={(event) => set({ locale: event.target.value })}
        error={error('locale')}
      />
      <TextField
        label={t('timeZone')}
        placeholder="UTC"
        value={draft.timeZone}
        onChange={(event) => set({ timeZone: event.target.value })}
        error={error('timeZone')}
      />
      <Checkbox label={t('uefi')} checked={draft.uefi} onChange={(event) => set({ uefi: event.target.checked })} />
    </div>
  )
}

function Network({
  draft,
  set,
  cards,
  errorOf,
}: PartProps & { readonly cards: number; readonly errorOf: SeedFieldsProps['errorOf'] }) {
  const t = useT(messages)
  const change = (card: number, to: Partial<CardDraft>) =>
    set({ cards: draft.cards.map((one) => (one.card === card ? { ...one, ...to } : one)) })
  const free = Array.from({ length: cards }, (_, n) => n).filter((n) => draft.cards.every(({ card }) => card !== n))
  return (
    <fieldset className="flex flex-col gap-3">
      <legend className="mb-1 font-medium text-dim text-sm">{t('network')}</legend>
      {draft.cards.length === 0 && <p className="text-dim">{t('dhcp')}</p>}
      {draft.cards.map((card, at) => {
        // With a first card that asks by DHCP before it, the server counts one more.
        const index = draft.cards.some((one) => one.card === 0) ? at : at + 1
        const below = (field: string) => firstBelow(errorOf, `form.networks.${index}.${field}`)
        const number = card.card + 1
        return (
          <div key={card.card} className="grid gap-3 rounded-md border border-line p-3 sm:grid-cols-2">
            <div className="flex items-center justify-between sm:col-span-2">
              <h4>{t('card', { number })}</h4>
              <IconButton
                label={t('removeCard', { number })}
                onClick={() => set({ cards: draft.cards.filter((one) => one !== card) })}
              >
                <Trash2 size={15} aria-hidden="true" />
              </IconButton>
            </div>
            <TextField
              className="sm:col-span-2"
              label={t('addresses')}
              hint={t('addressesHint')}
              mono
              value={card.addresses}
              onChange={(event) => change(card.card, { addresses: event.target.value })}
              error={below('addresses')}
            />
            <TextField
              label={t('gateways')}
              mono
              value={card.gateways}
              onChange={(event) => change(card.card, { gateways: event.target.value })}
              error={below('gateways')}
            />
            <TextField
              label={t('nameServers')}
              mono
              value={card.nameServers}
              onChange={(event) => change(card.card, { nameServers: event.target.value })}
              error={below('nameServers')}
            />
          </div>
        )
      })}
      <div className="flex flex-wrap gap-2">
        {free.map((card) => (
          <Button
            key={card}
            size="sm"
            onClick={() =>
              set({
                cards: [...draft.cards, { card, addresses: '', gateways: '', nameServers: '' }].toSorted(
                  (a, b) => a.card - b.card,
                ),
              })
            }
          >
            <Plus size={14} aria-hidden="true" />
            {t('addCard', { number: card + 1 })}
          </Button>
        ))}
      </div>
    </fieldset>
  )
}

/** Another kind keeps what both have. */
export function withKind(draft: SeedDraft | null, kind: SeedDraft['kind']): SeedDraft {
  const fresh = emptySeed(kind)
  if (draft === null) return fresh
  const { userName, password, keys, hostName, packages, commands } = draft
  return { ...fresh, userName, password, keys, hostName, packages, commands }
}
