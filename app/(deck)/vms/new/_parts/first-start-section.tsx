'use client'
import { SeedFields, withKind } from '#components/seed/seed-fields.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { seed as messages } from '#lib/i18n/messages/en/seed.ts'
import { seedKindsFor } from '#lib/seed/kinds-for.ts'
import type { CreateForm } from './use-create-form.ts'

export function FirstStartSection({ page }: { readonly page: CreateForm }) {
  const t = useT(messages)
  const { seed, setSeed, boot, guest, form } = page
  if (boot === undefined || boot === null) return null
  const kinds = seedKindsFor({ boot, guest })
  if (kinds.length === 0 && seed === null) return null
  const shown = seed === null || kinds.includes(seed.kind) ? kinds : [...kinds, seed.kind]
  return (
    <Section title={t('title')} note={t('note')}>
      <div id="field-seed" tabIndex={-1} className="flex flex-col gap-4">
        <RadioCards
          legend={t('kind.legend')}
          hideLegend
          name="seed-kind"
          value={seed?.kind ?? 'none'}
          onValue={(kind) => setSeed(kind === 'none' ? null : withKind(seed, kind))}
          options={[
            { value: 'none' as const, label: t('kind.none'), description: t('kind.noneHint') },
            ...shown.map((kind) => ({ value: kind, label: t(`kind.${kind}`), description: t(`kind.${kind}Hint`) })),
          ]}
        />
        {seed === null && boot.cloudInit === true && kinds.includes('nocloud') && (
          <Banner tone="attention">{t('nobodySignsIn', { image: boot.name })}</Banner>
        )}
        {seed !== null && (
          <SeedFields
            draft={seed}
            onDraft={setSeed}
            errorOf={(field) => form.errorOf(`seed.${field}`)}
            cards={form.draft.cards.length}
          />
        )}
      </div>
    </Section>
  )
}
