'use client'
import { Link } from '#components/nav/link.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { Page, Section } from '#components/ui/page.tsx'
import { DriveFields } from '#components/vm/fields/drive-fields.tsx'
import { focusField } from '#components/vm/fields/form.ts'
import { NetworkFields } from '#components/vm/fields/network-fields.tsx'
import { PlatformFields } from '#components/vm/fields/platform-fields.tsx'
import { ResourceFields } from '#components/vm/fields/resource-fields.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { definition } from '#lib/i18n/messages/en/definition.ts'
import { DefinitionLine } from './definition-line.tsx'
import { SavePanel } from './save-panel.tsx'
import { SpecJson } from './spec-json.tsx'
import { useDefinitionForm } from './use-definition-form.ts'

const LINE = 'command-line'

export function DefinitionScreen() {
  const t = useT(definition)
  const vm = useVm()
  const page = useDefinitionForm(vm)
  const mayNot = vm.actions.change?.allowed === false ? (vm.actions.change.reason ?? t('forbidden')) : null
  return (
    <Page>
      {mayNot && <Banner tone="info">{mayNot}</Banner>}
      <form
        aria-label={t('edit')}
        onSubmit={(event) => event.preventDefault()}
        className="grid min-w-0 gap-x-8 gap-y-6 lg:grid-cols-[minmax(0,1fr)_22rem]"
      >
        <fieldset
          disabled={mayNot !== null}
          className="flex min-w-0 flex-col gap-8 disabled:[&_:is(input,select,textarea,button)]:opacity-65"
        >
          <Section title={t('general')}>
            <div id="field-name" className="max-w-md">
              <TextField
                label={t('name')}
                maxLength={64}
                spellCheck={false}
                value={page.form.draft.name}
                onChange={(event) => page.form.update((draft) => ({ ...draft, name: event.target.value }))}
                error={page.form.errorOf('name')}
              />
            </div>
          </Section>
          <ResourceFields form={page.form} />
          <DriveFields form={page.form} />
          <NetworkFields form={page.form} />
          <PlatformFields form={page.form} accelerator={vm.accelerator} />
        </fieldset>
        <aside
          aria-label={t('changes')}
          className="flex min-w-0 flex-col gap-3 self-start rounded-md border border-line bg-surface p-4 lg:sticky lg:top-16"
        >
          <SavePanel page={page} vm={vm} mayNot={mayNot} />
          <p className="border-line border-t pt-3">
            <Link href={`#${LINE}`}>{t('toLine')}</Link>
          </p>
        </aside>
      </form>
      <div id={LINE} className="scroll-mt-16">
        <DefinitionLine
          vm={vm}
          isUnsaved={page.changed.length > 0}
          onField={mayNot === null ? focusField : undefined}
        />
      </div>
      <SpecJson vm={vm} />
    </Page>
  )
}
