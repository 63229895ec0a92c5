'use client'
import { type ReactNode, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import type { ApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import type { PoolId } from '#lib/schema/ids.ts'
import type { Pool } from '#lib/schema/storage.ts'
import { GIB } from '#lib/units.ts'

/** A dialog with one form: errors that name no field of it stand on top. */
export function FormDialog({
  title,
  submit,
  pending,
  error,
  fields,
  onSubmit,
  onClose,
  children,
}: {
  readonly title: string
  readonly submit: string
  readonly pending: boolean
  readonly error: ApiError | null
  readonly fields: readonly string[]
  readonly onSubmit: () => void
  readonly onClose: () => void
  readonly children: ReactNode
}) {
  const t = useT(messages)
  return (
    <Dialog
      title={title}
      closeLabel={t('close')}
      onClose={onClose}
      locked={pending}
      footer={
        <>
          <Button onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" form="storage-form" variant="primary" pending={pending}>
            {submit}
          </Button>
        </>
      }
    >
      <form
        id="storage-form"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          onSubmit()
        }}
      >
        {error && !fields.includes(error.field ?? '') && <Banner tone="error">{error.message}</Banner>}
        {children}
      </form>
    </Dialog>
  )
}

const POOL_PURPOSES = ['disks', 'backups'] as const
const at = (error: ApiError | null, field: string) => (error?.field === field ? error.message : undefined)

/** A new pool, or (given one) what can be changed of it. */
export function PoolDialog({ pool, onClose }: { readonly pool?: Pool; readonly onClose: () => void }) {
  const t = useT(messages)
  const [name, setName] = useState(pool?.name ?? '')
  const [path, setPath] = useState('')
  const [mounted, setMounted] = useState(pool?.mustBeMounted ?? false)
  const [reserve, setReserve] = useState<number | null>(pool?.reserveBytes == null ? null : pool.reserveBytes / GIB)
  const [purposes, setPurposes] = useState<Pool['purposes']>(pool?.purposes ?? ['disks', 'backups'])
  const onSuccess = ({ name: done }: Pool) => {
    showToast({ kind: 'done', title: t(pool ? 'poolDialog.changed' : 'poolDialog.done', { name: done }) })
    onClose()
  }
  const create = useOperation('poolCreate', { onSuccess })
  const update = useOperation('poolUpdate', { onSuccess })
  const { error, isPending } = pool ? update : create
  const submit = () => {
    const body = { name: name.trim(), reserveBytes: reserve === null ? null : Math.round(reserve * GIB), purposes }
    if (pool)
      update.mutate({
        input: { params: { id: pool.id }, body: pool.builtIn ? body : { ...body, mustBeMounted: mounted } },
      })
    else create.mutate({ input: { body: { ...body, path: path.trim(), mustBeMounted: mounted } } })
  }
  const purpose = (which: Pool['purposes'][number]) => (
    <Checkbox
      label={t(`poolDialog.purposes.${which}`)}
      checked={purposes.includes(which)}
      onChange={(event) => {
        const next = POOL_PURPOSES.filter((one) => (one === which ? event.target.checked : purposes.includes(one)))
        // A pool for nothing is no pool.
        if (next.length > 0) setPurposes(next)
      }}
    />
  )
  return (
    <FormDialog
      title={pool ? t('poolDialog.change', { name: pool.name }) : t('poolDialog.title')}
      submit={t(pool ? 'poolDialog.save' : 'poolDialog.submit')}
      pending={isPending}
      error={error}
      fields={['name', 'path', 'mustBeMounted', 'reserveBytes', 'purposes']}
      onClose={onClose}
      onSubmit={submit}
    >
      {!pool && <p className="text-dim">{t('poolDialog.intro')}</p>}
      <TextField
        label={t('poolDialog.name')}
        required
        value={name}
        onChange={(event) => setName(event.target.value)}
        error={at(error, 'name')}
      />
      {!pool && (
        <TextField
          label={t('poolDialog.path')}
          hint={t('poolDialog.pathHint')}
          mono
          required
          spellCheck={false}
          value={path}
          onChange={(event) => setPath(event.target.value)}
          error={at(error, 'path') ?? at(error, 'mustBeMounted')}
        />
      )}
      {!pool?.builtIn && (
        <Checkbox
          label={t('poolDialog.mounted')}
          hint={t('poolDialog.mountedHint')}
          checked={mounted}
          onChange={(event) => setMounted(event.target.checked)}
        />
      )}
      <NumberField
        label={t('poolDialog.reserve')}
        hint={t('poolDialog.reserveHint')}
        unit="GiB"
        min={0}
        step="any"
        value={reserve}
        onValue={setReserve}
        error={at(error, 'reserveBytes')}
      />
      <fieldset className="flex flex-col gap-2">
        <legend className="mb-1 font-medium text-sm">{t('poolDialog.for')}</legend>
        {purpose('disks')}
        {purpose('backups')}
        {at(error, 'purposes') && <p className="text-danger text-sm">{at(error, 'purposes')}</p>}
      </fieldset>
    </FormDialog>
  )
}

export function DiskDialog({ pools, onClose }: { readonly pools: readonly Pool[]; readonly onClose: () => void }) {
  const t = useT(messages)
  const usable = pools.filter((pool) => pool.purposes.includes('disks'))
  const [name, setName] = useState('')
  const [size, setSize] = useState<number | null>(20)
  const [pool, setPool] = useState(usable.find((one) => one.isDefault)?.id ?? usable[0]?.id ?? '')
  const [format, setFormat] = useState<'qcow2' | 'raw'>('qcow2')
  const { mutate, isPending, error } = useOperation('volumeCreate', {
    onSuccess: (volume) => {
      showToast({ kind: 'done', title: t('diskDialog.done', { name: volume.name }) })
      onClose()
    },
  })
  return (
    <FormDialog
      title={t('diskDialog.title')}
      submit={t('diskDialog.submit')}
      pending={isPending}
      error={error}
      fields={['name', 'sizeGiB', 'poolId']}
      onClose={onClose}
      onSubmit={() =>
        // The id comes from the list of pools.
        mutate({ input: { body: { name: name.trim(), sizeGiB: size ?? 0, poolId: pool as PoolId, format } } })
      }
    >
      <p className="text-dim">{t('diskDialog.intro')}</p>
      <TextField
        label={t('diskDialog.name')}
        required
        value={name}
        onChange={(event) => setName(event.target.value)}
        error={at(error, 'name')}
      />
      <NumberField
        label={t('diskDialog.size')}
        unit="GiB"
        min={1}
        required
        value={size}
        onValue={setSize}
        error={at(error, 'sizeGiB')}
      />
      <Select
        label={t('diskDialog.pool')}
        value={pool}
        onChange={(event) => setPool(event.target.value as PoolId)}
        options={usable.map((one) => ({ value: one.id, label: one.name }))}
        error={at(error, 'poolId')}
      />
      <Select
        label={t('diskDialog.format')}
        hint={t('diskDialog.formatHint')}
        value={format}
        onChange={(event) => setFormat(event.target.value === 'raw' ? 'raw' : 'qcow2')}
        options={[
          { value: 'qcow2', label: 'qcow2' },
          { value: 'raw', label: 'raw' },
        ]}
      />
    </FormDialog>
  )
}
