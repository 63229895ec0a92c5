'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan, useUser } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { projects as messages } from '#lib/i18n/messages/en/projects.ts'
import type { Project } from '#lib/schema/project.ts'

/** Name and description, of a new project or of one that exists. */
export function ProjectDialog({
  project = null,
  onClose,
  onCreated,
}: {
  readonly project?: Project | null
  readonly onClose: () => void
  readonly onCreated?: (project: Project) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [name, setName] = useState(project?.name ?? '')
  const [description, setDescription] = useState(project?.description ?? '')
  const [isTried, setTried] = useState(false)
  const create = useOperation('projectCreate', {
    onSuccess: (made) => {
      showToast({ kind: 'done', title: t('form.created', { name: made.name }) })
      onClose()
      onCreated?.(made)
    },
  })
  const update = useOperation('projectUpdate', {
    onSuccess: (saved) => {
      showToast({ kind: 'done', title: t('form.saved', { name: saved.name }) })
      onClose()
    },
  })
  const me = useUser()?.id
  const setsLimits = useCan('quota.manage')
  const holders = useQuery({ ...queries.usage(), enabled: project === null && !setsLimits }).data?.holders
  const own = holders?.find(({ type, id }) => type === 'person' && id === me)
  const isLimited = own !== undefined && Object.values(own.limits).some((limit) => limit !== null)
  const isPending = create.isPending || update.isPending
  const error = create.error ?? update.error
  const isNameError = error?.code === 'name_taken' || error?.field === 'name'
  const body = { name: name.trim(), description: description.trim() }
  return (
    <Dialog
      title={project === null ? t('form.title') : t('form.editTitle', { name: project.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="project-form" variant="primary" pending={isPending}>
            {project === null ? t('form.submit') : tApp('save')}
          </Button>
        </>
      }
    >
      <form
        id="project-form"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          setTried(true)
          if (body.name === '') return
          if (project === null) create.mutate({ input: { body } })
          else update.mutate({ input: { params: { id: project.id }, body }, ifMatch: project.revision })
        }}
      >
        {error && !isNameError && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <TextField
          label={t('form.name')}
          required
          maxLength={64}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={isTried && body.name === '' ? t('form.needName') : isNameError ? error?.message : undefined}
        />
        <TextArea
          label={t('form.description')}
          hint={t('form.descriptionHint')}
          maxLength={2000}
          value={description}
          onChange={(event) => setDescription(event.target.value)}
        />
        {project === null && <p className="text-dim">{t('form.manage')}</p>}
        {project === null && isLimited && <p className="text-dim">{t('form.noRoom')}</p>}
      </form>
    </Dialog>
  )
}
