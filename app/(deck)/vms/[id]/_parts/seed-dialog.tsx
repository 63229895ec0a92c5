'use client'
import { useState } from 'react'
import { emptySeed, type SeedDraft, toSeedInput } from '#components/seed/seed-draft.ts'
import { rememberKeys, SEED_KINDS, SeedFields, withKind } from '#components/seed/seed-fields.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { problemsOf } from '#components/vm/problems.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { seed as messages } from '#lib/i18n/messages/en/seed.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Another seed. It starts empty: what the old one holds is told to nobody. */
export function SeedDialog({ vm, onClose }: { readonly vm: Vm; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [draft, setDraft] = useState<SeedDraft>(() => emptySeed(vm.spec.guest === 'windows' ? 'windows' : 'nocloud'))
  const replace = useOperation('vmSeedReplace', {
    onSuccess: () => {
      rememberKeys(draft)
      onClose()
    },
  })
  const problems = replace.error ? problemsOf(replace.error) : []
  // Of a request that is the seed alone, fields have no name before them.
  const errorOf = (field: string) =>
    problems.find((problem) => problem.field === field || problem.field === `seed.${field}`)?.message
  return (
    <Dialog
      width="lg"
      title={t('replaceTitle', { name: vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={replace.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            variant="primary"
            pending={replace.isPending}
            disabledReason={draft.text === null && draft.userName.trim() === '' ? t('noUser') : null}
            onClick={() => replace.mutate({ input: { params: { id: vm.id }, body: toSeedInput(draft) } })}
          >
            {t('save')}
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-4">
        <p className="text-dim">{t('replaceNote')}</p>
        {replace.error && (
          <div role="alert">
            <Banner tone="error">{replace.error.message}</Banner>
          </div>
        )}
        <Select
          label={t('kind.legend')}
          value={draft.kind}
          onChange={(event) => {
            const kind = SEED_KINDS.find((one) => one === event.target.value)
            if (kind !== undefined) setDraft(withKind(draft, kind))
          }}
          options={SEED_KINDS.map((kind) => ({ value: kind, label: t(`kind.${kind}`) }))}
        />
        <SeedFields draft={draft} onDraft={setDraft} errorOf={errorOf} cards={vm.spec.networks.length} />
      </div>
    </Dialog>
  )
}
