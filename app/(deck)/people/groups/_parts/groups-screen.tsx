'use client'
import { useQuery } from '@tanstack/react-query'
import { Pencil, Trash2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { roles as messages } from '#lib/i18n/messages/en/roles.ts'
import type { Group } from '#lib/schema/project.ts'
import { PeopleFrame } from '../../_parts/people-frame.tsx'

const GroupDialog = dynamic(() => import('./group-dialog.tsx').then((m) => m.GroupDialog), { ssr: false })

export function GroupsScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const manages = useCan('user.manage')
  const [edited, setEdited] = useState<Group | 'new' | null>(null)
  return (
    <PeopleFrame
      actions={
        <Button
          variant={manages ? 'primary' : 'plain'}
          disabledReason={manages ? null : tApp('notAllowed')}
          onClick={() => setEdited('new')}
        >
          {t('groups.create')}
        </Button>
      }
    >
      <p className="max-w-prose text-dim">{t(manages ? 'groups.intro' : 'groups.onlyAdmins')}</p>
      {manages && <List onEdit={setEdited} />}
      {edited !== null && <GroupDialog group={edited === 'new' ? null : edited} onClose={() => setEdited(null)} />}
    </PeopleFrame>
  )
}

function List({ onEdit }: { readonly onEdit: (group: Group) => void }) {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.groupList())
  const { mutateAsync: remove } = useOperation('groupDelete')
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  if (!data) return <Skeleton className="h-24 w-full" />
  if (data.items.length === 0) return <EmptyState title={t('groups.none')}>{t('groups.noneBody')}</EmptyState>
  return (
    <ul className="flex flex-col border-line border-t">
      {data.items.map((group) => (
        <li key={group.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-2">
          <span className="flex min-w-0 flex-1 basis-56 flex-col">
            <span className="flex flex-wrap items-center gap-2">
              <span className="break-words font-medium">{group.name}</span>
              <span className="figures text-faint text-sm">{t('groups.count', { count: group.members.length })}</span>
              {group.external !== null && <Badge>{t('groups.follows', { group: group.external })}</Badge>}
            </span>
            <span className="break-words text-dim text-sm">{group.members.map(({ name }) => name).join(', ')}</span>
          </span>
          <IconButton size="sm" label={t('groups.edit', { name: group.name })} onClick={() => onEdit(group)}>
            <Pencil size={14} aria-hidden="true" />
          </IconButton>
          <IconButton
            size="sm"
            label={t('groups.remove', { name: group.name })}
            onClick={() =>
              askToConfirm({
                title: t('groups.removeTitle', { name: group.name }),
                body: t('groups.removeBody'),
                stays: [t('groups.removeStays')],
                confirmLabel: t('groups.remove', { name: group.name }),
                danger: true,
                run: async () => {
                  await remove({ input: { params: { id: group.id } } })
                  showToast({ kind: 'done', title: t('groups.removed', { name: group.name }) })
                },
              })
            }
          >
            <Trash2 size={14} aria-hidden="true" />
          </IconButton>
        </li>
      ))}
    </ul>
  )
}
