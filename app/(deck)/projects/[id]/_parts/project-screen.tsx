'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { QuotaBars } from '#components/access/quota-bars.tsx'
import { Breadcrumbs } from '#components/nav/breadcrumbs.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { NotFound } from '#components/nav/not-found.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { ApiError } from '#lib/client/api-client.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { usePageTitle } from '#lib/client/use-page-title.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { projects as messages } from '#lib/i18n/messages/en/projects.ts'
import { quotas } from '#lib/i18n/messages/en/quotas.ts'
import { paths } from '#lib/paths.ts'
import type { Project } from '#lib/schema/project.ts'
import { PROJECT_QUOTA_ITEMS } from '#lib/schema/quota.ts'
import { Belongings } from './belongings.tsx'
import { Members } from './members.tsx'

const ProjectDialog = dynamic(() => import('../../_parts/project-dialog.tsx').then((m) => m.ProjectDialog), {
  ssr: false,
})
const LimitsDialog = dynamic(() => import('#components/access/limits-dialog.tsx').then((m) => m.LimitsDialog), {
  ssr: false,
})

/** One project: who is in it, what it owns, and how much it may have. */
export function ProjectScreen({ id }: { readonly id: string }) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data: project, error, refetch } = useQuery(queries.projectView(id))
  const name = project?.name
  usePageTitle(name ? `${name} · ${tApp('name')}` : null)
  const gone = error instanceof ApiError && (error.status === 404 || error.code === 'bad_input')
  if (gone)
    return (
      <Page>
        <NotFound />
      </Page>
    )
  return (
    <Page>
      <div className="flex flex-col gap-1">
        <Breadcrumbs steps={[{ href: paths.projects(), label: t('title') }]} />
        {project ? <Header project={project} /> : <Skeleton className="h-8 w-48" />}
      </div>
      {error && !project && <LoadError error={error} onRetry={() => void refetch()} />}
      {project && <Parts project={project} />}
    </Page>
  )
}

function Parts({ project }: { readonly project: Project }) {
  const t = useT(messages)
  const mayNot = project.privileges.includes('project.manage') ? null : t('notManager')
  return (
    <>
      {project.description !== '' && <p className="-mt-3 max-w-prose whitespace-pre-wrap">{project.description}</p>}
      {project.archivedAt !== null && <Banner tone="attention">{t('archive.banner')}</Banner>}
      <Members project={project} mayNot={mayNot} />
      <Belongings project={project} />
      <Limits project={project} />
    </>
  )
}

function Header({ project }: { readonly project: Project }) {
  const t = useT(messages)
  const router = useRouter()
  const [editing, setEditing] = useState(false)
  const mayNot = project.privileges.includes('project.manage') ? null : t('notManager')
  const { name, counts } = project
  const params = { id: project.id }
  const { mutateAsync: archive } = useOperation('projectUpdate')
  const unarchive = useOperation('projectUpdate', {
    onSuccess: () => showToast({ kind: 'done', title: t('archive.undone', { name }) }),
    onError: (error) => toastError(error, t('failed', { name })),
  })
  const { mutateAsync: remove } = useOperation('projectDelete')
  const things = [
    counts.vms > 0 && t('vmsCount', { count: counts.vms }),
    counts.images > 0 && t('imagesCount', { count: counts.images }),
    counts.volumes > 0 && t('disksCount', { count: counts.volumes }),
  ].filter((part) => part !== false)
  return (
    <>
      <PageHeader
        title={name}
        note={project.archivedAt !== null && <Badge tone="attention">{t('archived')}</Badge>}
        actions={
          <>
            <Button disabledReason={mayNot} onClick={() => setEditing(true)}>
              {t('edit')}
            </Button>
            {project.archivedAt === null ? (
              <Button
                disabledReason={mayNot}
                onClick={() =>
                  askToConfirm({
                    title: t('archive.title', { name }),
                    body: t('archive.body'),
                    stays: [t('archive.stays')],
                    confirmLabel: t('archive.action'),
                    run: async () => {
                      await archive({ input: { params, body: { archived: true } }, ifMatch: project.revision })
                      showToast({ kind: 'done', title: t('archive.done', { name }) })
                    },
                  })
                }
              >
                {t('archive.action')}
              </Button>
            ) : (
              <Button
                disabledReason={mayNot}
                pending={unarchive.isPending}
                onClick={() =>
                  unarchive.mutate({ input: { params, body: { archived: false } }, ifMatch: project.revision })
                }
              >
                {t('archive.back')}
              </Button>
            )}
            <Button
              disabledReason={mayNot ?? (things.length > 0 ? t('remove.owns', { things: things.join(', ') }) : null)}
              onClick={() =>
                askToConfirm({
                  title: t('remove.title', { name }),
                  body: t('remove.body'),
                  goes: [t('remove.goes')],
                  stays: [t('remove.stays')],
                  confirmLabel: t('remove.action'),
                  danger: true,
                  run: async () => {
                    await remove({ input: { params } })
                    showToast({ kind: 'done', title: t('remove.done', { name }) })
                    router.push(paths.projects())
                  },
                })
              }
            >
              {t('remove.action')}
            </Button>
          </>
        }
      />
      {editing && <ProjectDialog project={project} onClose={() => setEditing(false)} />}
    </>
  )
}

function Limits({ project }: { readonly project: Project }) {
  const t = useT(messages)
  const tQuota = useT(quotas)
  const usage = useQuery(queries.usage())
  const maySet = useCan('quota.manage')
  const [editing, setEditing] = useState(false)
  const holder = usage.data?.holders.find(({ type, id }) => type === 'project' && id === project.id)
  return (
    <Section
      title={t('limits.title')}
      note={t('limits.note')}
      actions={
        <Button size="sm" disabledReason={maySet ? null : tQuota('edit.mayNot')} onClick={() => setEditing(true)}>
          {tQuota('edit.action')}
        </Button>
      }
    >
      {usage.error && !usage.data && <LoadError error={usage.error} onRetry={() => void usage.refetch()} />}
      {holder ? (
        <QuotaBars used={holder.used} limits={holder.limits} items={PROJECT_QUOTA_ITEMS} />
      ) : (
        <Skeleton className="h-24 w-full" />
      )}
      {editing && holder && (
        <LimitsDialog
          of={{ ...holder, type: 'project', name: project.name, id: project.id }}
          onClose={() => setEditing(false)}
        />
      )}
    </Section>
  )
}
