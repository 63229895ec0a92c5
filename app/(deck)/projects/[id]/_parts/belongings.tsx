'use client'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { ButtonLink, Link } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { VmStateMark } from '#components/vm/vm-state.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { projects as messages } from '#lib/i18n/messages/en/projects.ts'
import { paths } from '#lib/paths.ts'
import type { Project } from '#lib/schema/project.ts'
import { formatSearch } from '#lib/vm/search.ts'

/** More are in their own lists. */
const SHOWN = 12

/** VMs, images and free disks of a project. */
export function Belongings({ project }: { readonly project: Project }) {
  const t = useT(messages)
  const locale = useLocale()
  const isIts = (one: { readonly project?: { readonly id: string } | undefined }) => one.project?.id === project.id
  const vms = useQuery(queries.vmList()).data?.items.filter(isIts)
  const images = useQuery(queries.imageList()).data?.items.filter(isIts)
  const disks = useQuery(queries.volumeList()).data?.items.filter(
    (disk) => isIts(disk) && disk.vm === null && disk.trashedAt === null,
  )
  const mayCreate = project.privileges.includes('vm.create')
  const inList = paths.vms(formatSearch([{ key: 'project', value: project.name.toLowerCase(), negated: false }]))
  return (
    <Section
      title={t('owns.title')}
      actions={
        mayCreate ? (
          <ButtonLink size="sm" href={paths.vmNewIn(project.id)}>
            {t('owns.createVm')}
          </ButtonLink>
        ) : (
          <Button size="sm" disabledReason={project.archivedAt === null ? t('owns.mayNotCreate') : t('archive.banner')}>
            {t('owns.createVm')}
          </Button>
        )
      }
    >
      <div className="grid items-start gap-x-8 gap-y-5 lg:grid-cols-3">
        <List
          title={t('owns.vms')}
          none={t('owns.noVms')}
          more={(vms?.length ?? 0) > 0 ? <Link href={inList}>{t('owns.all')}</Link> : null}
          items={vms?.map((vm) => ({
            id: vm.id,
            name: <Link href={paths.vm(vm.id)}>{vm.name}</Link>,
            note: (
              <>
                <VmStateMark state={vm.state} /> · {vm.owner.name} · {formatMiB(vm.spec.memoryMiB, locale)}
              </>
            ),
          }))}
        />
        <List
          title={t('owns.images')}
          none={t('owns.noImages')}
          more={(images?.length ?? 0) > 0 ? <Link href={paths.images()}>{t('owns.all')}</Link> : null}
          items={images?.map((image) => ({
            id: image.id,
            name: image.name,
            note: `${formatBytes(image.sizeBytes, locale)} · ${image.addedBy.name}`,
          }))}
        />
        <List
          title={t('owns.disks')}
          none={t('owns.noDisks')}
          more={(disks?.length ?? 0) > 0 ? <Link href={paths.storage({ use: 'free' })}>{t('owns.all')}</Link> : null}
          items={disks?.map((disk) => ({
            id: disk.id,
            name: disk.name,
            note: `${formatBytes(disk.sizeBytes, locale)} · ${disk.owner.name}`,
          }))}
        />
      </div>
    </Section>
  )
}

interface Line {
  readonly id: string
  readonly name: ReactNode
  readonly note: ReactNode
}

function List({
  title,
  none,
  items,
  more,
}: {
  readonly title: string
  readonly none: string
  readonly items: readonly Line[] | undefined
  readonly more: ReactNode
}) {
  const t = useT(messages)
  return (
    <div className="min-w-0">
      <h3 className="flex items-baseline gap-2">
        {title}
        {items && <span className="figures text-faint text-sm">{items.length}</span>}
        {more && <span className="ms-auto text-sm">{more}</span>}
      </h3>
      {items === undefined && <Skeleton className="mt-2 h-4 w-2/3" />}
      {items?.length === 0 && <p className="text-faint">{none}</p>}
      <ul>
        {items?.slice(0, SHOWN).map((item) => (
          <li key={item.id} className="flex flex-col border-line border-b py-1.5">
            <span className="truncate">{item.name}</span>
            <span className="truncate text-faint text-sm">{item.note}</span>
          </li>
        ))}
      </ul>
      {items !== undefined && items.length > SHOWN && (
        <p className="pt-1 text-faint text-sm">{t('owns.more', { count: items.length - SHOWN })}</p>
      )}
    </div>
  )
}
