'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { AfterGrowth } from '#components/vm/fields/disk-place.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import type { PoolId, VmId } from '#lib/schema/ids.ts'
import type { Pool, Volume } from '#lib/schema/storage.ts'
import { ceilGiB } from '#lib/units.ts'
import { ChainDialog } from './chain-dialog.tsx'
import { FormDialog } from './new-dialogs.tsx'

export type VolumeDialogKind = 'chain' | 'grow' | 'move' | 'copy' | 'rename' | 'attach'
interface Props {
  readonly volume: Volume
  readonly onClose: () => void
}

export function VolumeDialog({
  kind,
  pools,
  ...props
}: Props & { readonly kind: VolumeDialogKind; readonly pools: readonly Pool[] }) {
  if (kind === 'chain') return <ChainDialog {...props} pools={pools} />
  if (kind === 'grow') return <GrowDialog {...props} />
  if (kind === 'move') return <MoveDialog {...props} pools={pools} />
  if (kind === 'attach') return <AttachDialog {...props} />
  return <NameDialog {...props} isCopy={kind === 'copy'} />
}

function GrowDialog({ volume, onClose }: Props) {
  const t = useT(messages)
  const locale = useLocale()
  const vms = useQuery(queries.vmList())
  const [size, setSize] = useState<number | null>(ceilGiB(volume.sizeBytes) + 10)
  const { mutate, isPending, error } = useOperation('volumeGrow', {
    onSuccess: ({ name, sizeBytes }) => {
      showToast({ kind: 'done', title: t('growDialog.done', { name, size: formatBytes(sizeBytes, locale) }) })
      onClose()
    },
  })
  const atSize = error?.field?.endsWith('sizeGiB')
  return (
    <FormDialog
      title={t('growDialog.title', { name: volume.name })}
      submit={t('growDialog.submit')}
      pending={isPending}
      error={error}
      fields={atSize ? [error?.field ?? ''] : []}
      onClose={onClose}
      onSubmit={() => mutate({ input: { params: { id: volume.id }, body: { sizeGiB: size ?? 0 } } })}
    >
      <NumberField
        label={t('growDialog.size')}
        hint={t('growDialog.hint')}
        unit="GiB"
        required
        value={size}
        onValue={setSize}
        error={atSize ? error?.message : undefined}
      />
      <AfterGrowth guest={vms.data?.items.find(({ id }) => id === volume.vm?.id)?.spec.guest ?? null} />
    </FormDialog>
  )
}

function MoveDialog({ volume, pools, onClose }: Props & { readonly pools: readonly Pool[] }) {
  const t = useT(messages)
  const others = pools.filter((pool) => pool.id !== volume.pool.id && pool.purposes.includes('disks'))
  const [pool, setPool] = useState<string>(others[0]?.id ?? '')
  const [limit, setLimit] = useState<number | null>(null)
  const locale = useLocale()
  const chosen = others.find(({ id }) => id === pool)
  const { mutate, isPending, error } = useOperation('volumeMove', {
    onSuccess: ({ title }) => {
      showToast({ kind: 'info', title: t('started', { name: title }) })
      onClose()
    },
  })
  return (
    <FormDialog
      title={t('moveDialog.title', { name: volume.name })}
      submit={t('moveDialog.submit')}
      pending={isPending}
      error={error}
      fields={['poolId', 'limitMiBps']}
      onClose={onClose}
      onSubmit={() =>
        // The id comes from the list of pools.
        mutate({ input: { params: { id: volume.id }, body: { poolId: pool as PoolId, limitMiBps: limit } } })
      }
    >
      <Select
        label={t('moveDialog.pool')}
        value={pool}
        onChange={(event) => setPool(event.target.value)}
        options={others.map((one) => ({ value: one.id, label: one.name }))}
        hint={
          chosen?.capacity
            ? t('moveDialog.room', { size: formatBytes(chosen.capacity.usableBytes, locale) })
            : undefined
        }
        error={error?.field === 'poolId' ? error.message : undefined}
      />
      <NumberField
        label={t('moveDialog.limit')}
        hint={t('moveDialog.limitHint')}
        unit="MiB/s"
        min={1}
        value={limit}
        onValue={setLimit}
        error={error?.field === 'limitMiBps' ? error.message : undefined}
      />
      <ul className="flex list-disc flex-col gap-1 ps-4 text-dim text-sm">
        <li>{t(volume.vm?.running ? 'moveDialog.live' : 'moveDialog.off')}</li>
        {volume.images.length > 0 && <li>{t('moveDialog.whole')}</li>}
        {volume.layers > 1 && <li>{t('moveDialog.layers')}</li>}
      </ul>
    </FormDialog>
  )
}

function NameDialog({ volume, isCopy, onClose }: Props & { readonly isCopy: boolean }) {
  const t = useT(messages)
  const [name, setName] = useState(isCopy ? `${volume.name} copy`.slice(0, 64) : volume.name)
  const rename = useOperation('volumeUpdate', { onSuccess: onClose })
  const copy = useOperation('volumeCopy', {
    onSuccess: ({ title }) => {
      showToast({ kind: 'info', title: t('started', { name: title }) })
      onClose()
    },
  })
  const error = isCopy ? copy.error : rename.error
  return (
    <FormDialog
      title={t(isCopy ? 'nameDialog.copy' : 'nameDialog.rename', { name: volume.name })}
      submit={t(isCopy ? 'nameDialog.submit' : 'nameDialog.submitRename')}
      pending={copy.isPending || rename.isPending}
      error={error}
      fields={['name']}
      onClose={onClose}
      onSubmit={() => {
        const input = { params: { id: volume.id }, body: { name: name.trim() } }
        if (isCopy) copy.mutate({ input })
        else rename.mutate({ input })
      }}
    >
      <TextField
        label={t('nameDialog.name')}
        required
        value={name}
        onChange={(event) => setName(event.target.value)}
        error={error?.field === 'name' ? error.message : undefined}
      />
    </FormDialog>
  )
}

function AttachDialog({ volume, onClose }: Props) {
  const t = useT(messages)
  const vms = useQuery(queries.vmList())
  const [vm, setVm] = useState('')
  const items = vms.data?.items ?? []
  const chosen = vm || (items[0]?.id ?? '')
  const { mutate, isPending, error } = useOperation('volumeAttach', {
    onSuccess: ({ name, vm: holder }) => {
      showToast({ kind: 'done', title: t('attachDialog.done', { name, vm: holder?.name ?? '' }) })
      onClose()
    },
  })
  return (
    <FormDialog
      title={t('attachDialog.title', { name: volume.name })}
      submit={t('attachDialog.submit')}
      pending={isPending}
      error={error}
      fields={[]}
      onClose={onClose}
      onSubmit={() => mutate({ input: { params: { id: volume.id }, body: { vmId: chosen as VmId } } })}
    >
      {items.length === 0 && <p className="text-dim">{t('attachDialog.none')}</p>}
      <Select
        label={t('attachDialog.vm')}
        value={chosen}
        onChange={(event) => setVm(event.target.value)}
        options={items.map(({ id, name }) => ({ value: id, label: name }))}
      />
    </FormDialog>
  )
}
