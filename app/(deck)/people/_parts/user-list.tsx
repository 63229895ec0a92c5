'use client'
import { useQuery } from '@tanstack/react-query'
import { Ellipsis } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useUser } from '#lib/client/session.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people as messages } from '#lib/i18n/messages/en/people.ts'
import type { Person, Role } from '#lib/schema/user.ts'

const ResetPasswordDialog = dynamic(() => import('./reset-password-dialog.tsx').then((m) => m.ResetPasswordDialog), {
  ssr: false,
})
const TheirTokensDialog = dynamic(() => import('./their-tokens-dialog.tsx').then((m) => m.TheirTokensDialog), {
  ssr: false,
})
const AccountsDialog = dynamic(() => import('./accounts-dialog.tsx').then((m) => m.AccountsDialog), { ssr: false })
interface Opened {
  readonly what: 'password' | 'tokens' | 'accounts'
  readonly user: Person
}
const ROLES: readonly Role[] = ['viewer', 'member', 'operator', 'admin']

export function UserList() {
  const { data, error, refetch } = useQuery(queries.userList())
  const [opened, setOpened] = useState<Opened | null>(null)
  const close = () => setOpened(null)
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  return (
    <>
      <ul className="-mt-3 flex flex-col">
        {data
          ? data.items.map((user) => (
              <UserLine key={user.id} user={user} onOpen={(what) => setOpened({ what, user })} />
            ))
          : [0, 1, 2].map((line) => (
              <li key={line} className="flex h-11 items-center border-line border-b">
                <Skeleton className="h-4 w-1/3" />
              </li>
            ))}
      </ul>
      {opened?.what === 'password' && <ResetPasswordDialog user={opened.user} onClose={close} />}
      {opened?.what === 'tokens' && <TheirTokensDialog user={opened.user} onClose={close} />}
      {opened?.what === 'accounts' && <AccountsDialog user={opened.user} onClose={close} />}
    </>
  )
}

function UserLine({ user, onOpen }: { readonly user: Person; readonly onOpen: (what: Opened['what']) => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const own = useUser()?.id === user.id
  const update = useOperation('userUpdate', {
    onError: (error) => toastError(error, t('failed', { name: user.name })),
  })
  const { mutateAsync: disable } = useOperation('userUpdate')
  const { mutateAsync: remove } = useOperation('userDelete')
  const { mutateAsync: resetFactor } = useOperation('userFactorsReset')
  const signOut = useOperation('userSignOut', {
    onSuccess: () => showToast({ kind: 'done', title: t('moreActions.signedOut', { name: user.name }) }),
    onError: (error) => toastError(error, t('failed', { name: user.name })),
  })
  const customRoles = useQuery(queries.roleList()).data?.custom ?? []
  const custom = customRoles.find(({ id }) => id === user.customRole)
  const ownReason = own ? t('ownReason') : null
  const params = { id: user.id }
  return (
    <li className="flex min-h-11 flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-1.5">
      <span className="flex min-w-0 flex-1 basis-40 items-center gap-2">
        <span className="truncate font-medium">{user.name}</span>
        {own && <Badge tone="accent">{t('youMark')}</Badge>}
        {user.secondFactor && <Badge tip={t('factorTip')}>{t('factorMark')}</Badge>}
        {user.disabled && <Badge tone="attention">{t('disabled')}</Badge>}
      </span>
      <span
        className="w-28 text-dim"
        data-tip={custom === undefined ? t(`roles.${user.role}`) : custom.description || undefined}
      >
        {custom === undefined ? tApp(`role.${user.role}`) : custom.name}
      </span>
      <span className="w-40 text-faint text-sm max-sm:hidden">
        {user.lastSeenAt
          ? t.rich('seen', { time: () => <Time key="time" at={user.lastSeenAt ?? ''} /> })
          : t('neverSeen')}
      </span>
      <Menu
        label={t('more', { name: user.name })}
        iconOnly
        size="sm"
        items={[
          ...ROLES.filter((role) => role !== user.role || user.customRole !== null).map((role) => ({
            id: role,
            label: t('changeRole', { role: tApp(`role.${role}`) }),
            disabledReason: ownReason,
            onSelect: () => update.mutate({ input: { params, body: { role, customRole: null } } }),
          })),
          ...customRoles
            .filter(({ id }) => id !== user.customRole)
            .map(({ id, name }) => ({
              id,
              label: t('changeRole', { role: name }),
              disabledReason: ownReason,
              onSelect: () => update.mutate({ input: { params, body: { customRole: id } } }),
            })),
          { kind: 'separator' as const, id: 's1' },
          { id: 'reset', label: t('resetPassword'), onSelect: () => onOpen('password'), disabledReason: ownReason },
          { id: 'accounts', label: t('moreActions.accounts'), onSelect: () => onOpen('accounts') },
          {
            id: 'tokens',
            label: t('moreActions.tokens', { count: user.tokens }),
            onSelect: () => onOpen('tokens'),
          },
          {
            id: 'signOut',
            label: t('moreActions.signOut', { count: user.sessions }),
            disabledReason: ownReason,
            onSelect: () => signOut.mutate({ input: { params } }),
          },
          {
            id: 'factor',
            label: t('moreActions.resetFactor'),
            disabledReason: user.secondFactor ? ownReason : t('moreActions.noFactor'),
            onSelect: () =>
              askToConfirm({
                title: t('moreActions.resetFactorTitle', { name: user.name }),
                body: t('moreActions.resetFactorBody'),
                goes: [t('moreActions.resetFactorGoes')],
                confirmLabel: t('moreActions.resetFactor'),
                danger: true,
                run: async () => {
                  await resetFactor({ input: { params } })
                  showToast({ kind: 'done', title: t('moreActions.resetFactorDone', { name: user.name }) })
                },
              }),
          },
          user.disabled
            ? {
                id: 'enable',
                label: t('enable'),
                onSelect: () => update.mutate({ input: { params, body: { disabled: false } } }),
              }
            : {
                id: 'disable',
                label: t('disable'),
                disabledReason: ownReason,
                onSelect: () =>
                  askToConfirm({
                    title: t('disableAsk.title', { name: user.name }),
                    body: t('disableAsk.body'),
                    stays: [t('disableAsk.stays')],
                    confirmLabel: t('disable'),
                    danger: true,
                    run: () => disable({ input: { params, body: { disabled: true } } }),
                  }),
              },
          {
            id: 'delete',
            label: t('remove'),
            danger: true,
            disabledReason: ownReason,
            onSelect: () =>
              askToConfirm({
                title: t('deleteAsk.title', { name: user.name }),
                body: t('deleteAsk.body'),
                goes: [t('deleteAsk.goes')],
                stays: [t('deleteAsk.stays')],
                confirmLabel: t('remove'),
                danger: true,
                run: async () => {
                  await remove({ input: { params } })
                  showToast({ kind: 'done', title: t('deleteAsk.done', { name: user.name }) })
                },
              }),
          },
        ]}
      >
        <Ellipsis size={16} aria-hidden="true" />
      </Menu>
    </li>
  )
}
