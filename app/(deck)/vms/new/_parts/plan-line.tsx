'use client'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { Dialog } from '#components/ui/dialog.tsx'
import { CommandLineView } from '#components/vm/command-line.tsx'
import { markAgainst } from '#components/vm/command-line-groups.ts'
import { toInput } from '#components/vm/spec-draft.ts'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { type CreateForm, previewQuery } from './use-create-form.ts'

/** The exact argv; what differs from the plain defaults of the same guest and medium is marked. */
export function PlanLine({
  page,
  plan,
  onClose,
  onField,
}: {
  readonly page: CreateForm
  readonly plan: NonNullable<CreateForm['plan']>
  readonly onClose: () => void
  readonly onField: (pointer: string) => void
}) {
  const t = useT(create)
  const words = useT(app)
  const { draft } = page.form
  const defaults = useMemo(() => {
    const [card] = draft.cards
    return toInput(
      {
        name: '',
        scalars: { guest: plan.spec.guest },
        drives: draft.drives.filter((drive) => drive.origin !== 'own'),
        // The address is chance, not choice.
        cards: card === undefined ? [] : [{ key: card.key, mac: card.mac, restrict: false, forwards: [] }],
      },
      page.name,
    )
  }, [draft.cards, draft.drives, page.name, plan.spec.guest])
  const base = useQuery(previewQuery(defaults)).data?.commandLine
  const line = useMemo(
    () => (base === undefined ? plan.commandLine : markAgainst(plan.commandLine, base)),
    [base, plan.commandLine],
  )
  return (
    <Dialog title={t('plan.lineTitle')} closeLabel={words('close')} onClose={onClose} width="lg">
      <p className="mb-4 max-w-prose text-dim">{t('plan.lineNote')}</p>
      <CommandLineView line={line} changedAgainst="defaults" onField={onField} />
    </Dialog>
  )
}
