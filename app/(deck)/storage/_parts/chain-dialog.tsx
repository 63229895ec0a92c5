'use client'
import { useQuery } from '@tanstack/react-query'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import type { Pool, Volume, VolumeDetail } from '#lib/schema/storage.ts'

/** The files a disk is made of, top first: what each takes, where it lies and who needs it. */
export function ChainDialog({
  volume,
  pools,
  onClose,
}: {
  readonly volume: Volume
  readonly pools: readonly Pool[]
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.volumeView(volume.id))
  return (
    <Dialog
      title={t('chain.title', { name: volume.name })}
      closeLabel={t('close')}
      width="md"
      onClose={onClose}
      footer={<Button onClick={onClose}>{t('close')}</Button>}
    >
      <div className="flex flex-col gap-3 text-start">
        <p className="text-dim">{t(volume.layers > 1 || volume.images.length > 0 ? 'chain.intro' : 'chain.alone')}</p>
        {error && !data ? (
          <LoadError error={error} onRetry={() => void refetch()} />
        ) : data ? (
          <ol className="flex flex-col">
            {data.chain.map((layer, depth) => (
              <Layer key={layer.id ?? layer.image?.id} layer={layer} pools={pools} isTop={depth === 0} />
            ))}
          </ol>
        ) : (
          Array.from({ length: Math.max(1, volume.layers) }, (_, line) => (
            // Lines that stand for lines to come have nothing else to tell them apart.
            // biome-ignore lint/suspicious/noArrayIndexKey: they never change places
            <Skeleton key={line} className="h-14 w-full" />
          ))
        )}
      </div>
    </Dialog>
  )
}

function Layer({
  layer,
  pools,
  isTop,
}: {
  readonly layer: VolumeDetail['chain'][number]
  readonly pools: readonly Pool[]
  readonly isTop: boolean
}) {
  const t = useT(messages)
  const locale = useLocale()
  const pool = pools.find(({ id }) => id === layer.poolId)
  const place = layer.image ? t('chain.library') : pool ? t('chain.pool', { name: pool.name }) : null
  const taken =
    layer.allocatedBytes === null
      ? t('chain.unknown')
      : t('chain.takes', { size: formatBytes(layer.allocatedBytes, locale) })
  return (
    <li className="border-line border-s-2 ps-3 pb-3 last:pb-0">
      <p className="flex flex-wrap items-center gap-x-2 gap-y-1">
        <span className="min-w-0 break-all font-medium">
          {layer.image ? layer.image.name : t(isTop ? 'chain.top' : 'chain.below')}
        </span>
        <Badge>{layer.format}</Badge>
        {layer.writable && <Badge tone="accent">{t('chain.written')}</Badge>}
      </p>
      <p className="figures text-dim text-sm">
        {[taken, t('chain.shows', { size: formatBytes(layer.sizeBytes, locale) }), place]
          .filter((part) => part !== null)
          .join(' · ')}
      </p>
      {!layer.present && (
        <p className="flex items-center gap-1 text-attention text-sm">
          <MarkIcon mark="attention" className="size-2.5" />
          {t('chain.missing')}
        </p>
      )}
      {layer.neededBy.length > 0 && (
        <p className="break-words text-dim text-sm">{t('chain.neededBy', { who: layer.neededBy.join(', ') })}</p>
      )}
    </li>
  )
}
