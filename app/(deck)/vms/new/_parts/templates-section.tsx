'use client'
import { useQuery } from '@tanstack/react-query'
import { Layers } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { clones as messages } from '#lib/i18n/messages/en/clones.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const CloneDialog = dynamic(() => import('#components/vm/clone-dialog.tsx').then((m) => m.CloneDialog), { ssr: false })

/** Templates there are, each a VM away by one click; nothing where there are none. */
export function TemplatesSection() {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const [chosen, setChosen] = useState<Vm | null>(null)
  const templates = useQuery(queries.vmList()).data?.items.filter((vm) => vm.template !== undefined) ?? []
  if (templates.length === 0) return null
  return (
    <Section title={t('from')} note={t('fromNote')}>
      <ul className="grid gap-2 sm:grid-cols-2">
        {templates.map((vm) => (
          <li key={vm.id} className="flex items-center gap-2.5 rounded-md border border-line bg-surface p-3">
            <Layers size={15} aria-hidden="true" className="shrink-0" />
            <span className="min-w-0 flex-1">
              <span className="block truncate font-medium">{vm.name}</span>
              <span className="block truncate text-dim text-sm">
                {tApp(`guest.${vm.spec.guest}`)} · {formatMiB(vm.spec.memoryMiB, locale)}
              </span>
            </span>
            <Button size="sm" aria-label={`${t('newFromTemplate')} ${vm.name}`} onClick={() => setChosen(vm)}>
              {t('newFromTemplate')}
            </Button>
          </li>
        ))}
      </ul>
      {chosen !== null && <CloneDialog vm={chosen} onClose={() => setChosen(null)} />}
    </Section>
  )
}
