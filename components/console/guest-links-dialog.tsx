'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { guestLinkMessages } from '#lib/i18n/messages/en/guest-links.ts'
import type { GuestLink } from '#lib/schema/guest-link.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { ConsoleTab } from './console-tab.ts'

const HOUR = 60
const DAY = 24 * HOUR
const VALID = [15, HOUR, 4 * HOUR, DAY, 7 * DAY, 30 * DAY] as const

/** The guest links of a VM, and a form for another. */
export function GuestLinksDialog({
  vm,
  tab,
  onClose,
}: {
  readonly vm: Pick<Vm, 'id' | 'name' | 'spec' | 'privileges'>
  readonly tab: ConsoleTab
  readonly onClose: () => void
}) {
  const t = useT(guestLinkMessages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.guestLinks(vm.id))
  const [made, setMade] = useState<string | null>(null)
  return (
    <Dialog
      title={t('title', { name: vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      footer={<Button onClick={onClose}>{tApp('close')}</Button>}
    >
      <div className="flex flex-col gap-4">
        <p className="text-dim text-sm">{t('intro')}</p>
        <NewLink vm={vm} tab={tab} onMade={(path) => setMade(location.origin + path)} />
        {made && (
          <div role="status" className="flex flex-col gap-1">
            <p className="font-medium text-sm">{t('once')}</p>
            <p className="flex items-center gap-1 rounded-md border border-line bg-sunken px-3 py-2">
              <code className="min-w-0 flex-1 select-all break-all font-mono text-sm">{made}</code>
              <CopyButton text={made} label={t('copy')} copiedLabel={t('copied')} />
            </p>
          </div>
        )}
        {error && !data ? (
          <LoadError error={error} onRetry={() => void refetch()} />
        ) : !data ? (
          <Skeleton className="h-9 w-full" />
        ) : data.items.length === 0 ? (
          <p className="text-faint">{t('none')}</p>
        ) : (
          <ul className="flex flex-col border-line border-t">
            {data.items.map((link) => (
              <LinkLine key={link.id} link={link} />
            ))}
          </ul>
        )}
      </div>
    </Dialog>
  )
}

function NewLink({
  vm,
  tab,
  onMade,
}: {
  readonly vm: Pick<Vm, 'id' | 'spec' | 'privileges'>
  readonly tab: ConsoleTab
  readonly onMade: (path: string) => void
}) {
  const t = useT(guestLinkMessages)
  const mayControl = vm.privileges?.includes('vm.console.control') ?? false
  const [label, setLabel] = useState('')
  const [kind, setKind] = useState(tab === 'serial' ? 'serial' : 'vnc')
  const [mode, setMode] = useState('view')
  const [minutes, setMinutes] = useState<number>(HOUR)
  const [viewers, setViewers] = useState(1)
  const create = useOperation('guestLinkCreate', {
    onSuccess: ({ path }) => {
      setLabel('')
      onMade(path)
    },
  })
  const field = create.error?.field
  const kinds = [
    ...(vm.spec.display === 'none' ? [] : [{ value: 'vnc', label: t('screen') }]),
    ...(vm.spec.serial ? [{ value: 'serial', label: t('serial') }] : []),
  ]
  const duration = (count: number) =>
    count < HOUR
      ? t('minutes', { count })
      : count < DAY
        ? t('hours', { count: count / HOUR })
        : t('days', { count: count / DAY })
  return (
    <form
      className="flex flex-wrap items-start gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        const body = {
          label: label.trim(),
          // The values of the lists above.
          kind: kind as 'vnc' | 'serial',
          mode: mode as 'view' | 'control',
          expiresInMinutes: minutes,
          maxViewers: viewers,
        }
        create.mutate({ input: { params: { id: vm.id }, body } })
      }}
    >
      {create.error && field !== 'label' && (
        <div role="alert" className="w-full">
          <Banner tone="error">{create.error.message}</Banner>
        </div>
      )}
      <TextField
        className="flex-1 basis-48"
        label={t('label')}
        hint={t('labelHint')}
        required
        maxLength={40}
        value={label}
        onChange={(event) => setLabel(event.target.value)}
        error={field === 'label' ? create.error?.message : undefined}
      />
      <Select
        className="w-28"
        label={t('console')}
        value={kind}
        onChange={(event) => setKind(event.target.value)}
        options={kinds}
      />
      <Select
        className="w-40"
        label={t('mode')}
        value={mode}
        onChange={(event) => setMode(event.target.value)}
        hint={mayControl ? undefined : t('mayNotControl')}
        options={[
          { value: 'view', label: t('view') },
          ...(mayControl ? [{ value: 'control', label: t('control') }] : []),
        ]}
      />
      <Select
        className="w-32"
        label={t('valid')}
        value={String(minutes)}
        onChange={(event) => setMinutes(Number(event.target.value))}
        options={VALID.map((count) => ({ value: String(count), label: duration(count) }))}
      />
      <Select
        className="w-24"
        label={t('viewers')}
        value={String(viewers)}
        onChange={(event) => setViewers(Number(event.target.value))}
        options={[1, 2, 4, 8].map((count) => ({ value: String(count), label: String(count) }))}
      />
      <Button type="submit" variant="primary" className="mt-6" pending={create.isPending}>
        {t('create')}
      </Button>
    </form>
  )
}

function LinkLine({ link }: { readonly link: GuestLink }) {
  const t = useT(guestLinkMessages)
  const { mutateAsync: revoke } = useOperation('guestLinkRevoke')
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-1.5">
      <span className="min-w-0 flex-1 basis-48">
        <span className="flex flex-wrap items-center gap-2">
          <span className="break-words font-medium">{link.label}</span>
          <Badge>{t(link.kind === 'vnc' ? 'screen' : 'serial')}</Badge>
          <Badge tone={link.mode === 'control' ? 'attention' : 'plain'}>{t(link.mode)}</Badge>
          {link.viewers > 0 && <Badge tone="accent">{t('now', { count: link.viewers, max: link.maxViewers })}</Badge>}
        </span>
        <span className="block text-faint text-sm">
          {t.rich('expires', { time: () => <Time key="time" at={link.expiresAt} /> })} ·{' '}
          {t('by', { name: link.createdBy.name })} · {t('uses', { count: link.uses })}
          {link.lastUsedAt !== null && link.lastUsedFrom !== null && (
            <>
              {', '}
              {t.rich(
                'lastUsed',
                { time: () => <Time key="time" at={link.lastUsedAt ?? ''} /> },
                { from: link.lastUsedFrom },
              )}
            </>
          )}
        </span>
      </span>
      <Button
        size="sm"
        aria-label={t('revokeNamed', { label: link.label })}
        onClick={() =>
          askToConfirm({
            title: t('revokeTitle', { label: link.label }),
            body: t('revokeBody'),
            confirmLabel: t('revoke'),
            danger: true,
            run: () => revoke({ input: { params: { id: link.vmId, link: link.id } } }),
          })
        }
      >
        {t('revoke')}
      </Button>
    </li>
  )
}
