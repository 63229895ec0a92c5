'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useUser } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { access as messages } from '#lib/i18n/messages/en/access.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { ObjectAccess } from '#lib/schema/project.ts'
import { ACCESS_UPDATE, type Shared } from './access-kinds.ts'

/** Which project an object belongs to; for a VM also who owns it. */
export function MoveDialog({ of, onClose }: { readonly of: Shared; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.access(of.kind, of.id))
  if (data !== undefined) return <Move of={of} access={data} onClose={onClose} />
  return (
    <Dialog title={t('move.title', { name: of.name })} closeLabel={tApp('close')} onClose={onClose}>
      {error ? <LoadError error={error} onRetry={() => void refetch()} /> : <Skeleton className="h-24 w-full" />}
    </Dialog>
  )
}

const TO_CREATE = { vm: 'vm.create', image: 'image.add', volume: 'volume.change' } as const

function Move({
  of,
  access,
  onClose,
}: {
  readonly of: Shared
  readonly access: ObjectAccess
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const client = useQueryClient()
  const user = useUser()
  const isAdmin = user?.role === 'admin' && user.customRole === null
  const now = access.project?.id ?? ''
  const [project, setProject] = useState<string>(now)
  const [owner, setOwner] = useState<string>(access.owner.id)
  const projects = useQuery(queries.projectList()).data?.items
  const people = useQuery({ ...queries.directory(), enabled: access.reason === null }).data?.people
  const { mutate, isPending, error } = useOperation(ACCESS_UPDATE[of.kind], {
    onError: ({ code }) => {
      if (code === 'stale_revision')
        void client.invalidateQueries({ queryKey: queries.access(of.kind, of.id).queryKey })
    },
    onSuccess: () => {
      showToast({ kind: 'done', title: t('move.done', { name: of.name }) })
      onClose()
    },
  })
  const open = (projects ?? []).filter(
    ({ id, archivedAt, privileges }) => id === now || (archivedAt === null && privileges.includes(TO_CREATE[of.kind])),
  )
  const canGive = of.kind === 'vm' && isAdmin
  const body = {
    ...(project !== now && { projectId: project === '' ? null : project }),
    ...(owner !== access.owner.id && { ownerId: owner }),
  }
  const knownFields = ['projectId', ...(canGive ? ['ownerId'] : [])]
  return (
    <Dialog
      title={t('move.title', { name: of.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="move-form" variant="primary" pending={isPending} disabledReason={access.reason}>
            {t('move.submit')}
          </Button>
        </>
      }
    >
      <form
        id="move-form"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (access.reason !== null) return
          if (Object.keys(body).length === 0) onClose()
          else mutate({ input: { params: { id: of.id }, body }, ifMatch: access.revision })
        }}
      >
        {error && !knownFields.includes(error.field ?? '') && (
          <div role="alert">
            <Banner tone="error">
              <p>{error.message}</p>
              {error.code === 'stale_revision' && <p>{t('share.stale')}</p>}
            </Banner>
          </div>
        )}
        <Select
          label={t('move.project')}
          value={project}
          onChange={(event) => setProject(event.target.value)}
          options={[
            { value: '', label: t(of.kind === 'image' ? 'move.noneImage' : 'move.none') },
            ...open.map(({ id, name }) => ({ value: id as string, label: name })),
          ]}
          hint={
            projects !== undefined && open.length === 0
              ? t('move.noProjects')
              : t(of.kind === 'image' ? 'move.hintImage' : 'move.hint')
          }
          error={error?.field === 'projectId' ? error.message : undefined}
          disabledReason={access.reason}
        />
        {access.project !== null && project !== now && (
          <p className="text-dim text-sm">{t('move.leaves', { name: access.project.name })}</p>
        )}
        {of.kind === 'vm' && (
          <Select
            label={t('move.owner')}
            value={owner}
            onChange={(event) => setOwner(event.target.value)}
            options={[
              { value: access.owner.id, label: t('move.ownerKept', { name: access.owner.name }) },
              ...(people ?? [])
                .filter(({ id }) => id !== access.owner.id)
                .map(({ id, name }) => ({ value: id as string, label: name })),
            ]}
            error={error?.field === 'ownerId' ? error.message : undefined}
            disabledReason={canGive ? access.reason : t('move.ownerReason')}
          />
        )}
      </form>
    </Dialog>
  )
}
