'use client'
import { useQuery } from '@tanstack/react-query'
import { Plus } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { Link } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { projects as messages } from '#lib/i18n/messages/en/projects.ts'
import { paths } from '#lib/paths.ts'
import type { Project } from '#lib/schema/project.ts'

const ProjectDialog = dynamic(() => import('./project-dialog.tsx').then((m) => m.ProjectDialog), { ssr: false })

/** The projects somebody reaches; those that are archived come last. */
export function ProjectsScreen() {
  const t = useT(messages)
  const router = useRouter()
  const { data, error, refetch } = useQuery(queries.projectList())
  const mayCreate = useCan('project.create')
  const [creating, setCreating] = useState(false)
  const items = [...(data?.items ?? [])].sort((a, b) => Number(a.archivedAt !== null) - Number(b.archivedAt !== null))
  const button = (
    <Button
      variant="primary"
      icon={<Plus size={14} aria-hidden="true" />}
      disabledReason={mayCreate ? null : t('mayNot')}
      onClick={() => setCreating(true)}
    >
      {t('create')}
    </Button>
  )
  return (
    <Page>
      <PageHeader
        title={t('title')}
        note={data && items.length > 0 && <span className="figures">{items.length}</span>}
        actions={button}
      />
      <p className="-mt-3 max-w-prose text-dim">{t('intro')}</p>
      {error && !data ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <div className="flex flex-col">
          {[0, 1, 2].map((line) => (
            <div key={line} className="flex h-11 items-center border-line border-b">
              <Skeleton className="h-4 w-1/3" />
            </div>
          ))}
        </div>
      ) : items.length === 0 ? (
        <EmptyState title={t('empty.title')}>{mayCreate ? t('empty.body') : t('empty.none')}</EmptyState>
      ) : (
        <table className="w-full max-md:block">
          <thead className="text-dim text-sm max-md:sr-only">
            <tr className="h-8 border-line border-b text-start">
              <th scope="col">{t('column.name')}</th>
              {(['people', 'vms', 'images', 'disks', 'role'] as const).map((column) => (
                <th key={column} scope="col" className="px-2">
                  {t(`column.${column}`)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody className="max-md:block">
            {items.map((project) => (
              <Row key={project.id} project={project} />
            ))}
          </tbody>
        </table>
      )}
      {creating && (
        <ProjectDialog onClose={() => setCreating(false)} onCreated={({ id }) => router.push(paths.project(id))} />
      )}
    </Page>
  )
}

function Row({ project }: { readonly project: Project }) {
  const t = useT(messages)
  const { counts, privileges } = project
  const may = privileges.includes('project.manage') ? 'manage' : privileges.includes('vm.create') ? 'create' : 'look'
  const cell = 'px-2 max-md:px-0 max-md:text-dim max-md:text-sm'
  return (
    <tr className="border-line border-b hover:bg-hover max-md:flex max-md:flex-wrap max-md:gap-x-3 max-md:gap-y-1 max-md:py-2.5">
      <td className="max-w-80 py-2 max-md:max-w-full max-md:basis-full max-md:py-0">
        <span className="flex min-w-0 flex-wrap items-center gap-x-2">
          <Link href={paths.project(project.id)} className="break-words font-medium">
            {project.name}
          </Link>
          {project.archivedAt !== null && <Badge tone="attention">{t('archived')}</Badge>}
        </span>
        {project.description !== '' && <span className="block truncate text-faint text-sm">{project.description}</span>}
      </td>
      <td className={cell}>{t('peopleCount', { count: project.members.length })}</td>
      <td className={cell}>
        {t('vmsCount', { count: counts.vms })}
        {counts.vms > 0 && <span className="text-faint"> · {t('running', { count: counts.running })}</span>}
      </td>
      <td className={cell}>{t('imagesCount', { count: counts.images })}</td>
      <td className={cell}>{t('disksCount', { count: counts.volumes })}</td>
      <td className={cell}>{t(`may.${may}`)}</td>
    </tr>
  )
}
