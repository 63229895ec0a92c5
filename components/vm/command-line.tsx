'use client'
import { useMemo, useState } from 'react'
import { Badge, type BadgeTone } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { cx } from '#components/ui/cx.ts'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { commandLine as messages } from '#lib/i18n/messages/en/command-line.ts'
import type { CommandLine, CommandOption } from '#lib/schema/command-line.ts'
import { groupOptions, matches } from './command-line-groups.ts'

const TONE: Record<CommandOption['origin'], BadgeTone> = {
  default: 'plain',
  choice: 'accent',
  security: 'running',
  plumbing: 'plain',
}

type ChangedAgainst = 'running' | 'defaults' | 'stored'
const CHANGED_TIP = {
  running: 'changedTip',
  defaults: 'changedFromDefault',
  stored: 'changedFromStored',
} as const satisfies Record<ChangedAgainst, string>

export interface CommandLineViewProps {
  readonly line: CommandLine
  /** Leads to the field that changes an option, by JSON pointer. Left out: no links. */
  readonly onField?: (pointer: string) => void
  /** What "changed" is measured against. */
  readonly changedAgainst?: ChangedAgainst
  /** Shows only what changed at first. */
  readonly startWithChanged?: boolean
  /** Level of the headings of the groups. */
  readonly heading?: 'h3' | 'h4'
}

/** The exact argv, one option a line, grouped by device, each with what it does, why it is there and where it came from. */
export function CommandLineView({
  line,
  onField,
  changedAgainst = 'running',
  startWithChanged = false,
  heading = 'h3',
}: CommandLineViewProps) {
  const t = useT(messages)
  const [query, setQuery] = useState('')
  const [explains, setExplains] = useState(true)
  const [changedOnly, setChangedOnly] = useState(startWithChanged)
  const changed = useMemo(
    () => [...line.wrapper, ...line.options].filter((option) => option.changed).length,
    [line.options, line.wrapper],
  )
  // The switch disappears with the last change; it must not keep hiding everything then.
  const onlyChanged = changedOnly && changed > 0
  const show = (option: CommandOption) => (!onlyChanged || option.changed) && matches(option, query)
  const groups = groupOptions(line).map((group) => ({ ...group, options: group.options.filter(show) }))
  const empty = groups.every((group) => group.options.length === 0)
  const Heading = heading
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <TextField
          className="w-56 max-w-full"
          label={t('filter')}
          hideLabel
          type="search"
          placeholder={t('filter')}
          value={query}
          onChange={(event) => setQuery(event.target.value)}
        />
        <Checkbox label={t('explain')} checked={explains} onChange={(event) => setExplains(event.target.checked)} />
        {changed > 0 && (
          <Checkbox
            label={t('onlyChanged', { count: String(changed) })}
            checked={changedOnly}
            onChange={(event) => setChangedOnly(event.target.checked)}
          />
        )}
        <span className="ms-auto flex items-center gap-2 text-faint text-sm">
          {t('qemu', { version: line.qemuVersion })}
          <CopyButton text={line.shell} label={t('copy')} copiedLabel={t('copied')} />
        </span>
      </div>
      {empty && <p className="text-dim">{t('none', { query })}</p>}
      {groups.map((group) =>
        group.options.length === 0 ? null : (
          <section key={group.id} aria-label={groupName(t, group.id)} className="flex min-w-0 flex-col gap-1">
            <Heading className="text-dim">{groupName(t, group.id)}</Heading>
            <ul className="flex flex-col divide-y divide-line rounded-md border border-line bg-surface">
              {group.options.map((option, n) => (
                // Two options of a group may be equal word for word; the place tells them apart.
                // biome-ignore lint/suspicious/noArrayIndexKey: see above
                <li key={`${option.argv.join(' ')} ${n}`}>
                  <OptionRow option={option} explains={explains} onField={onField} against={changedAgainst} />
                </li>
              ))}
            </ul>
          </section>
        ),
      )}
    </div>
  )
}

function OptionRow({
  option,
  explains,
  onField,
  against,
}: {
  readonly option: CommandOption
  readonly explains: boolean
  readonly onField: ((pointer: string) => void) | undefined
  readonly against: ChangedAgainst
}) {
  const t = useT(messages)
  const { field } = option
  const [flag = '', ...values] = option.argv
  return (
    <div
      className={cx(
        'grid gap-x-5 gap-y-1 px-3 py-2',
        explains && '@4xl:grid-cols-[minmax(0,11fr)_minmax(0,10fr)_10rem]',
        !explains && '@xl:grid-cols-[minmax(0,1fr)_10rem]',
        option.changed && 'bg-attention-tint',
      )}
    >
      <code className="min-w-0 font-mono text-sm [overflow-wrap:anywhere]">
        <span className="font-semibold text-ink">{flag}</span>
        {values.length > 0 && <span className="text-dim"> {values.join(' ')}</span>}
      </code>
      {explains && (
        <p className="max-w-prose text-sm">
          {option.what}{' '}
          <span className="text-faint">
            {t('why')} {option.why}
          </span>
        </p>
      )}
      <span className="flex flex-wrap items-start gap-1.5 self-start @xl:justify-end">
        {option.changed && (
          <Badge tone="attention" tip={t(CHANGED_TIP[against])}>
            {t('changed')}
          </Badge>
        )}
        <Badge tone={TONE[option.origin]} tip={t(`originTip.${option.origin}`)}>
          {t(`origin.${option.origin}`)}
        </Badge>
        {onField && field !== null && (
          <Button
            size="sm"
            variant="quiet"
            className="-my-1"
            aria-label={t('toField', { option: option.what })}
            onClick={() => onField(field)}
          >
            {t('fieldLink')}
          </Button>
        )}
      </span>
    </div>
  )
}

type T = ReturnType<typeof useT<typeof messages.messages>>
const NAMED = Object.keys(messages.messages.group) as (keyof typeof messages.messages.group)[]

/** Groups that are not parts of the machine are devices, called by their id. */
function groupName(t: T, id: string): string {
  const named = NAMED.find((name) => name === id)
  return named === undefined ? t('device', { id }) : t(`group.${named}`)
}
