'use client'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { create } from '#lib/i18n/messages/en/create.ts'
import type { CreateForm } from './use-create-form.ts'

/** Whose the VM is to be; nothing to choose where the reader is in no project. */
export function HomeField({ page }: { readonly page: CreateForm }) {
  const t = useT(create)
  const { homes, project, setProject, form } = page
  const error = form.errorOf('project')
  if (homes.projects.length === 0)
    // A limit on the number of VMs is told here, where it would be chosen whose it is.
    return (
      <div id="field-project" tabIndex={-1} className="empty:hidden">
        {error && (
          <p role="alert" className="text-crashed text-sm">
            {error}
          </p>
        )}
      </div>
    )
  return (
    <div id="field-project" className="max-w-md">
      <Select
        label={t('home.label')}
        value={project}
        onChange={(event) => setProject(event.target.value)}
        options={[
          ...(homes.mayOwn ? [{ value: '', label: t('home.own') }] : []),
          ...homes.projects.map(({ id, name }) => ({ value: id as string, label: name })),
        ]}
        hint={t(project === '' ? 'home.hintOwn' : 'home.hint')}
        error={error}
      />
    </div>
  )
}
