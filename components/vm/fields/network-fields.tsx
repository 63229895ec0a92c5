'use client'
import { Network, Plus, Trash2 } from 'lucide-react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { NumberField, Select } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { spec } from '#lib/i18n/messages/en/spec.ts'
import { type CardDraft, type ForwardDraft, newCard } from '../spec-draft.ts'
import { Details } from './details.tsx'
import { effectiveCard, rowKey, type SpecForm } from './form.ts'

const MAX_CARDS = 8
const MAX_FORWARDS = 32

export function NetworkFields({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const { cards } = form.draft
  return (
    <Section title={t('networks.title')}>
      <div id="field-networks" tabIndex={-1} className="flex flex-col gap-2">
        {cards.length === 0 && <p className="text-dim">{t('networks.none')}</p>}
        <ul className="flex flex-col divide-y divide-line">
          {cards.map((card, index) => (
            <li key={card.key} id={`field-networks-${index}`} tabIndex={-1} className="py-3 first:pt-0">
              <CardRow form={form} card={card} index={index} />
            </li>
          ))}
        </ul>
        <div>
          <Button
            size="sm"
            icon={<Plus size={14} aria-hidden="true" />}
            disabledReason={cards.length >= MAX_CARDS ? t('networks.full') : null}
            onClick={() => form.update((draft) => ({ ...draft, cards: [...draft.cards, newCard(rowKey())] }))}
          >
            {t('networks.add')}
          </Button>
        </div>
      </div>
    </Section>
  )
}

export function CardRow({
  form,
  card,
  index,
}: {
  readonly form: SpecForm
  readonly card: CardDraft
  readonly index: number
}) {
  const t = useT(spec)
  const number = String(index + 1)
  const complete = effectiveCard(form, index)
  const change = (fields: Partial<CardDraft>) =>
    form.update((draft) => ({
      ...draft,
      cards: draft.cards.map((row) => (row.key === card.key ? { ...row, ...fields } : row)),
    }))
  const changeForward = (key: string, fields: Partial<ForwardDraft>) =>
    change({ forwards: card.forwards.map((row) => (row.key === key ? { ...row, ...fields } : row)) })
  const error = form.errorOf(`networks.${index}`) ?? form.errorOf(`networks.${index}.mac`)
  return (
    <div className="flex flex-col gap-2">
      <div className="flex items-start gap-2">
        <Network size={16} aria-hidden="true" className="mt-0.5 text-faint" />
        <div className="min-w-0 flex-1">
          <div className="flex flex-wrap items-center gap-x-2">
            <h3>{t('networks.card', { number })}</h3>
            <span className="font-mono text-faint text-sm">{t('networks.mac', { mac: card.mac })}</span>
          </div>
          <p className="text-faint text-sm">
            {t('networks.connection', { network: String(card.more?.network ?? complete?.network ?? 'user') })}{' '}
            {t('networks.kind', { model: String(card.more?.model ?? complete?.model ?? 'virtio-net') })}
          </p>
        </div>
        <IconButton
          size="sm"
          label={t('networks.remove', { number })}
          onClick={() =>
            form.update((draft) => ({ ...draft, cards: draft.cards.filter((row) => row.key !== card.key) }))
          }
        >
          <Trash2 size={14} aria-hidden="true" />
        </IconButton>
      </div>
      <div className="flex flex-col gap-3 ps-6">
        <Checkbox
          label={t('networks.restrict')}
          hint={card.restrict ? t('networks.restrictHint') : t('networks.open')}
          checked={card.restrict}
          onChange={(event) => change({ restrict: event.target.checked })}
        />
        <fieldset className="flex min-w-0 flex-col gap-2">
          <legend className="mb-1 font-medium text-dim text-sm">
            {t('networks.forwards')}
            <span className="ms-2 font-normal text-faint">{t('networks.forwardsHint')}</span>
          </legend>
          {card.forwards.map((forward, n) => (
            <div key={forward.key} className="flex flex-wrap items-start gap-2">
              <Select
                className="w-24"
                label={t('networks.protocol')}
                hideLabel={n > 0}
                value={forward.protocol}
                onChange={(event) =>
                  changeForward(forward.key, { protocol: event.target.value === 'udp' ? 'udp' : 'tcp' })
                }
                options={[
                  { value: 'tcp', label: 'TCP' },
                  { value: 'udp', label: 'UDP' },
                ]}
              />
              <NumberField
                className="min-w-24 flex-1 basis-24"
                label={t('networks.hostPort')}
                hideLabel={n > 0}
                min={1024}
                max={65_535}
                value={forward.hostPort}
                onValue={(hostPort) => changeForward(forward.key, { hostPort })}
                error={form.errorOf(`networks.${index}.forwards.${n}.hostPort`)}
              />
              <NumberField
                className="min-w-24 flex-1 basis-24"
                label={t('networks.guestPort')}
                hideLabel={n > 0}
                min={1}
                max={65_535}
                value={forward.guestPort}
                onValue={(guestPort) => changeForward(forward.key, { guestPort })}
                error={form.errorOf(`networks.${index}.forwards.${n}.guestPort`)}
              />
              <IconButton
                size="sm"
                className={n === 0 ? 'mt-6.5' : 'mt-0.5'}
                label={t('networks.removeForward', { number: String(n + 1) })}
                onClick={() => change({ forwards: card.forwards.filter((row) => row.key !== forward.key) })}
              >
                <Trash2 size={14} aria-hidden="true" />
              </IconButton>
            </div>
          ))}
          <div>
            <Button
              size="sm"
              variant="quiet"
              icon={<Plus size={14} aria-hidden="true" />}
              disabledReason={card.forwards.length >= MAX_FORWARDS ? t('networks.forwardsFull') : null}
              onClick={() =>
                change({
                  forwards: [
                    ...card.forwards,
                    { key: rowKey(), protocol: 'tcp', hostPort: freePort(form), guestPort: 22 },
                  ],
                })
              }
            >
              {t('networks.addForward')}
            </Button>
          </div>
        </fieldset>
        <Details form={form} kind="card" index={index} />
      </div>
      {error && (
        <p role="alert" className="ps-6 text-crashed text-sm">
          {error}
        </p>
      )}
    </div>
  )
}

/** 2222 and up: the first that this VM does not forward yet. */
function freePort(form: SpecForm): number {
  const used = new Set(form.draft.cards.flatMap((card) => card.forwards.map((forward) => forward.hostPort)))
  let port = 2222
  while (used.has(port)) port += 1
  return port
}
