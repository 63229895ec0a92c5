'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Facts, Section } from '#components/ui/page.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { seed as messages } from '#lib/i18n/messages/en/seed.ts'
import type { SeedView } from '#lib/schema/seed.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const SeedDialog = dynamic(() => import('./seed-dialog.tsx').then((part) => part.SeedDialog), { ssr: false })

/** The seed of a VM: what it sets up, whether that has happened, another one in its place. */
export function VmSeed({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const mayNot = useMayNotVm(vm, 'vm.change')
  if (mayNot === null) return <Seed vm={vm} />
  // It may hold passwords: what it sets up is told to those who may change it.
  return (
    <Section
      title={t('title')}
      actions={
        <Button size="sm" disabledReason={mayNot}>
          {t('add')}
        </Button>
      }
    >
      <p className="text-faint">{t('notShown')}</p>
    </Section>
  )
}

function Seed({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const query = useQuery(queries.vmSeed(vm.id))
  const [isOpen, setOpen] = useState(false)
  const remove = useOperation('vmSeedRemove')
  const seed = query.data?.seed ?? null
  const isPresent = seed !== null && seed.state !== 'removed'
  const takeOut = () =>
    askToConfirm({
      title: t('confirmTitle', { name: vm.name }),
      body: t('confirmText'),
      confirmLabel: t('takeOut'),
      danger: true,
      run: () => remove.mutateAsync({ input: { params: { id: vm.id } } }),
    })
  return (
    <Section
      title={t('title')}
      actions={
        query.isSuccess && (
          <>
            {isPresent && (
              <Button size="sm" pending={remove.isPending} onClick={takeOut}>
                {t('takeOut')}
              </Button>
            )}
            <Button size="sm" onClick={() => setOpen(true)}>
              {t(isPresent ? 'replace' : 'add')}
            </Button>
          </>
        )
      }
    >
      {query.isPending ? (
        <Skeleton className="h-16 w-full" />
      ) : query.isError ? (
        <Banner tone="error">{toApiError(query.error).message}</Banner>
      ) : seed === null ? (
        <p className="text-faint">{t('empty')}</p>
      ) : (
        <SeedFacts seed={seed} />
      )}
      {isOpen && <SeedDialog vm={vm} onClose={() => setOpen(false)} />}
    </Section>
  )
}

function SeedFacts({ seed }: { readonly seed: SeedView }) {
  const t = useT(messages)
  const { summary } = seed
  const at = seed.removedAt ?? seed.usedAt ?? seed.createdAt
  return (
    <Facts
      facts={[
        {
          label: t(`kind.${seed.kind}`),
          value: (
            <span className="flex flex-wrap items-center gap-2">
              <Badge tone={seed.state === 'waiting' ? 'attention' : 'plain'}>{t(`state.${seed.state}`)}</Badge>
              <span className="text-faint text-sm">
                <Time at={at} /> · {t('made', { by: seed.by })}
                {summary.byHand && ` · ${t('handMade')}`}
              </span>
            </span>
          ),
        },
        ...(seed.usedWhy === null ? [] : [{ label: t('state.used'), value: seed.usedWhy }]),
        ...(seed.drive === null
          ? []
          : [
              {
                label: t('drive'),
                value: (
                  <>
                    <code className="font-mono text-sm">{seed.drive}</code>
                    {seed.inserted && <span className="text-faint"> {t('inserted')}</span>}
                  </>
                ),
              },
            ]),
        ...(summary.hostName === null ? [] : [{ label: t('hostName'), value: summary.hostName }]),
        ...(summary.users.length === 0
          ? []
          : [
              {
                label: t('users'),
                value: summary.users
                  .map(
                    ({ name, keys, hasPassword }) =>
                      `${t('userLine', { name, keys })}${hasPassword ? `, ${t('withPassword')}` : ''}`,
                  )
                  .join('; '),
              },
            ]),
        ...(summary.packages.length === 0 ? [] : [{ label: t('packages'), value: summary.packages.join(', ') }]),
        ...(summary.commands === 0
          ? []
          : [{ label: t('commands'), value: t('commandCount', { count: summary.commands }) }]),
        ...(summary.byHand && summary.sections.length > 0
          ? [{ label: t('sections'), value: summary.sections.join(', ') }]
          : []),
      ]}
    />
  )
}
