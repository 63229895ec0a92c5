'use client'
import { useQuery } from '@tanstack/react-query'
import { Pencil, Trash2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { wordOf } from '#components/access/use-role-words.ts'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Disclosure, EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Facts, Section } from '#components/ui/page.tsx'
import type { Privilege } from '#lib/auth/privileges.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { access } from '#lib/i18n/messages/en/access.ts'
import { account } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { roles as messages } from '#lib/i18n/messages/en/roles.ts'
import type { CustomRole } from '#lib/schema/project.ts'
import { PeopleFrame } from '../../_parts/people-frame.tsx'

const RoleDialog = dynamic(() => import('./role-dialog.tsx').then((m) => m.RoleDialog), { ssr: false })
const ORDER = ['viewer', 'member', 'operator', 'admin'] as const

/** What each role may: the built-in ones to read, those of one's own to change. */
export function RolesScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const tAccess = useT(access)
  const manages = useCan('user.manage')
  const { data, error, refetch } = useQuery(queries.roleList())
  const [edited, setEdited] = useState<CustomRole | 'new' | null>(null)
  const mayNot = manages ? null : t('custom.mayNot')
  return (
    <PeopleFrame
      actions={
        <Button variant={manages ? 'primary' : 'plain'} disabledReason={mayNot} onClick={() => setEdited('new')}>
          {t('custom.create')}
        </Button>
      }
    >
      <p className="max-w-prose text-dim">{t('intro')}</p>
      {error && !data && <LoadError error={error} onRetry={() => void refetch()} />}
      {!error && !data && <Skeleton className="h-64 w-full" />}
      {data && (
        <>
          <Section title={t('custom.title')} note={<span className="figures">{data.custom.length}</span>}>
            {data.custom.length === 0 ? (
              <EmptyState title={t('custom.none')}>{t('custom.noneBody')}</EmptyState>
            ) : (
              <ul className="-mt-3 flex flex-col">
                {data.custom.map((role) => (
                  <Custom key={role.id} role={role} mayNot={mayNot} onEdit={() => setEdited(role)} />
                ))}
              </ul>
            )}
          </Section>
          <Section title={t('builtIn.title')} note={t('builtIn.note')}>
            <ul className="-mt-3 flex flex-col">
              {ORDER.map((role) => (
                <li key={role} className="flex flex-col gap-2 border-line border-b py-3">
                  <h3>{tApp(`role.${role}`)}</h3>
                  <Facts
                    facts={[
                      { label: t('builtIn.onServer'), value: t(`builtIn.reach.${role}`) },
                      { label: t('builtIn.inProject'), value: tAccess(`inProject.${role}`) },
                    ]}
                  />
                  <Disclosure summary={t('builtIn.show', { name: tApp(`role.${role}`) })}>
                    <Verbs verbs={data.builtIn.find((known) => known.role === role)?.privileges ?? []} />
                  </Disclosure>
                </li>
              ))}
            </ul>
          </Section>
        </>
      )}
      {edited !== null && <RoleDialog role={edited === 'new' ? null : edited} onClose={() => setEdited(null)} />}
    </PeopleFrame>
  )
}

function Verbs({ verbs }: { readonly verbs: readonly Privilege[] }) {
  const tVerb = useT(account)
  return (
    <ul className="grid list-disc gap-x-6 ps-5 text-dim sm:grid-cols-2 lg:grid-cols-3">
      {verbs.map((verb) => (
        <li key={verb}>{tVerb(wordOf(verb))}</li>
      ))}
    </ul>
  )
}

function Custom({
  role,
  mayNot,
  onEdit,
}: {
  readonly role: CustomRole
  readonly mayNot: string | null
  readonly onEdit: () => void
}) {
  const t = useT(messages)
  const { mutateAsync: remove } = useOperation('roleDelete')
  const { name } = role
  return (
    <li className="flex flex-wrap items-start gap-x-4 gap-y-1 border-line border-b py-3">
      <div className="flex min-w-0 flex-1 basis-72 flex-col gap-1">
        <h3 className="break-words">{name}</h3>
        {role.description !== '' && <p className="text-dim">{role.description}</p>}
        <p className="text-faint text-sm">
          {t(role.reach === 'all' ? 'custom.reachAll' : 'custom.reachOwn')}
          {mayNot === null && ` · ${t('custom.uses', { count: role.uses })}`}
        </p>
        <Verbs verbs={role.privileges} />
      </div>
      <span className="flex gap-1">
        <IconButton size="sm" label={t('custom.edit', { name })} disabledReason={mayNot} onClick={onEdit}>
          <Pencil size={14} aria-hidden="true" />
        </IconButton>
        <IconButton
          size="sm"
          label={t('custom.remove', { name })}
          disabledReason={mayNot ?? (role.uses > 0 ? t('custom.inUse') : null)}
          onClick={() =>
            askToConfirm({
              title: t('removeTitle', { name }),
              confirmLabel: t('custom.remove', { name }),
              danger: true,
              run: async () => {
                await remove({ input: { params: { id: role.id } } })
                showToast({ kind: 'done', title: t('removed', { name }) })
              },
            })
          }
        >
          <Trash2 size={14} aria-hidden="true" />
        </IconButton>
      </span>
    </li>
  )
}
