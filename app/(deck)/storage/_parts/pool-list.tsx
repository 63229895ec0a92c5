'use client'
import { Ellipsis } from 'lucide-react'
import { useState } from 'react'
import { Badge } from '#components/ui/badge.tsx'
import { Menu } from '#components/ui/menu.tsx'
import { MeterBar } from '#components/ui/meter.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import type { Pool } from '#lib/schema/storage.ts'
import { PoolDialog } from './new-dialogs.tsx'

const MARK: Readonly<Record<Pool['state'], Mark>> = {
  ok: 'running',
  low: 'attention',
  full: 'crashed',
  'read-only': 'attention',
  missing: 'crashed',
  unreachable: 'crashed',
  unknown: 'changing',
}

export function PoolList({ pools }: { readonly pools: readonly Pool[] }) {
  return (
    <ul className="-mt-3 flex flex-col">
      {pools.map((pool) => (
        <PoolLine key={pool.id} pool={pool} />
      ))}
    </ul>
  )
}

function PoolLine({ pool }: { readonly pool: Pool }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const canManage = useCan('pool.manage')
  const { mutate: check } = useOperation('poolCheck', {
    onSuccess: ({ name, evidence }) => showToast({ kind: 'info', title: t('checked', { name, evidence }) }),
    onError: (cause) => toastError(cause, pool.name),
  })
  const { mutate: update } = useOperation('poolUpdate', { onError: (cause) => toastError(cause, pool.name) })
  const { mutateAsync: remove } = useOperation('poolDelete')
  const [isChanging, setChanging] = useState(false)
  const { capacity } = pool
  const size = (bytes: number) => formatBytes(bytes, locale)
  const used = capacity === null ? 0 : capacity.totalBytes - capacity.freeBytes
  const more = pool.volumes.growthBytes
  const isAway = pool.state === 'missing' || pool.state === 'unreachable'
  const isOver = !isAway && capacity !== null && more > capacity.freeBytes
  const usedText = capacity === null ? '' : t('used', { used: size(used), total: size(capacity.totalBytes) })
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 border-line border-b py-3">
      <div className="min-w-0 flex-1 basis-60">
        <p className="flex flex-wrap items-center gap-2">
          <MarkIcon mark={MARK[pool.state]} />
          <span className="break-all font-medium">{pool.name}</span>
          <span className="text-dim text-sm">{t(`states.${pool.state}`)}</span>
          {pool.builtIn && <Badge>{t('builtIn')}</Badge>}
          {pool.isDefault && <Badge tone="accent">{t('isDefault')}</Badge>}
        </p>
        {pool.path && <p className="break-all font-mono text-dim text-sm">{pool.path}</p>}
        {pool.state !== 'ok' && (
          <p className="text-dim text-sm">
            {pool.evidence} {pool.advice}
          </p>
        )}
        {isOver && <p className="text-attention text-sm">{t('over')}</p>}
      </div>
      {capacity && !isAway && (
        <div className="flex basis-80 flex-col gap-1 text-dim text-sm">
          <span className="figures">{usedText}</span>
          <MeterBar
            label={usedText}
            parts={[
              {
                label: 'used',
                share: used / capacity.totalBytes,
                tone: pool.state === 'ok' ? 'used' : 'attention',
              },
              { label: 'promised', share: more / capacity.totalBytes, tone: 'promised' },
            ]}
          />
          <span className="figures">
            {t('thin', { allocated: size(pool.volumes.allocatedBytes), virtual: size(pool.volumes.virtualBytes) })}
          </span>
          <span className="figures">
            {t('promised', { size: size(pool.volumes.worstCaseBytes), growth: size(more) })}
          </span>
          <span className="figures">
            {t('usable', { size: size(capacity.usableBytes), reserve: size(capacity.reserveBytes) })}
          </span>
        </div>
      )}
      <Menu
        label={t('poolActions', { name: pool.name })}
        iconOnly
        items={[
          { id: 'check', label: t('check'), onSelect: () => check({ input: { params: { id: pool.id } } }) },
          {
            id: 'change',
            label: t('changePool'),
            disabledReason: canManage ? null : tApp('notAllowed'),
            onSelect: () => setChanging(true),
          },
          {
            id: 'default',
            label: t('makeDefault'),
            disabledReason: !canManage ? tApp('notAllowed') : pool.isDefault ? t('isDefault') : null,
            onSelect: () => update({ input: { params: { id: pool.id }, body: { isDefault: true } } }),
          },
          {
            id: 'remove',
            label: t('removePool'),
            danger: true,
            disabledReason: !canManage ? tApp('notAllowed') : pool.builtIn ? t('builtIn') : null,
            onSelect: () =>
              askToConfirm({
                title: t('removeTitle', { name: pool.name }),
                goes: [t('removeGoes')],
                stays: [t('removeStays')],
                confirmLabel: t('removePool'),
                danger: true,
                run: async () => {
                  await remove({ input: { params: { id: pool.id } } })
                  showToast({ kind: 'done', title: t('removed', { name: pool.name }) })
                },
              }),
          },
        ]}
      >
        <Ellipsis size={16} aria-hidden="true" />
      </Menu>
      {isChanging && <PoolDialog pool={pool} onClose={() => setChanging(false)} />}
    </li>
  )
}
