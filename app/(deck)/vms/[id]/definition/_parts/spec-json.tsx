'use client'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Disclosure, Output } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { definition } from '#lib/i18n/messages/en/definition.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** The stored definition as the API speaks it. */
export function SpecJson({ vm }: { readonly vm: Vm }) {
  const t = useT(definition)
  const text = JSON.stringify(vm.spec, null, 2)
  return (
    <Disclosure summary={t('json')}>
      <div className="flex flex-col gap-2">
        <div className="flex items-center gap-2">
          <p className="min-w-0 flex-1 text-faint text-sm [overflow-wrap:anywhere]">{t('jsonNote', { id: vm.id })}</p>
          <CopyButton text={text} label={t('copyJson')} copiedLabel={t('copied')} />
        </div>
        <Output label={t('json')}>{text}</Output>
      </div>
    </Disclosure>
  )
}
