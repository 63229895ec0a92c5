'use client'
import { useQuery } from '@tanstack/react-query'
import { Disc3, HardDrive, Plus, Trash2 } from 'lucide-react'
import { Badge } from '#components/ui/badge.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { room } from '#lib/i18n/messages/en/room.ts'
import { spec } from '#lib/i18n/messages/en/spec.ts'
import type { Image } from '#lib/schema/image.ts'
import { ceilGiB, GIB } from '#lib/units.ts'
import type { DriveDraft } from '../spec-draft.ts'
import { Details } from './details.tsx'
import { AfterGrowth, PoolField } from './disk-place.tsx'
import { effectiveDrive, rowKey, type SpecForm, shownValue } from './form.ts'
import { Share } from './resource-fields.tsx'

const MAX_DRIVES = 30
const MAX_CDROMS = 6

export function DriveFields({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const locale = useLocale()
  const images = useQuery(queries.imageList()).data?.items ?? []
  const disk = useQuery(queries.hostView()).data?.capacity.disk
  const { drives } = form.draft
  const cdroms = drives.filter((drive) => drive.device === 'cdrom').length
  const newGiB = drives.reduce((sum, drive, n) => {
    const complete = effectiveDrive(form, n)
    return drive.id === undefined && complete?.device === 'disk' ? sum + complete.sizeGiB : sum
  }, 0)
  const add = (device: DriveDraft['device']) =>
    form.update((draft) => ({
      ...draft,
      drives: [...draft.drives, { key: rowKey(), device, image: null, origin: 'own' }],
    }))
  const full = drives.length >= MAX_DRIVES ? t('disks.full') : null
  return (
    <Section title={t('disks.title')}>
      <div id="field-disks" tabIndex={-1} className="flex flex-col gap-2">
        {drives.length === 0 && <p className="text-dim">{t('disks.none')}</p>}
        <ul className="flex flex-col divide-y divide-line">
          {drives.map((drive, index) => (
            <li key={drive.key} id={`field-disks-${index}`} tabIndex={-1} className="py-3 first:pt-0">
              <DriveRow form={form} drive={drive} index={index} images={images} />
            </li>
          ))}
        </ul>
        {disk && newGiB > 0 && (
          <Share
            mine={(newGiB * GIB) / disk.totalBytes}
            promised={disk.promisedBytes / disk.totalBytes}
            warning={null}
            text={t('cpu.diskShare', {
              mine: formatBytes(newGiB * GIB, locale),
              free: formatBytes(disk.freeBytes, locale),
              promised: formatBytes(disk.promisedBytes, locale),
            })}
          />
        )}
        <div className="flex flex-wrap gap-2">
          <Button
            size="sm"
            icon={<Plus size={14} aria-hidden="true" />}
            disabledReason={full}
            onClick={() => add('disk')}
          >
            {t('disks.addDisk')}
          </Button>
          <Button
            size="sm"
            icon={<Plus size={14} aria-hidden="true" />}
            disabledReason={full ?? (cdroms >= MAX_CDROMS ? t('disks.cdFull') : null)}
            onClick={() => add('cdrom')}
          >
            {t('disks.addCd')}
          </Button>
        </div>
      </div>
    </Section>
  )
}

export function DriveRow({
  form,
  drive,
  index,
  images,
}: {
  readonly form: SpecForm
  readonly drive: DriveDraft
  readonly index: number
  readonly images: readonly Image[]
}) {
  const t = useT(spec)
  const tRoom = useT(room)
  const locale = useLocale()
  const complete = effectiveDrive(form, index)
  const taken = form.draft.drives.map((row) => row.more?.volume)
  const volume = drive.more?.volume
  const free = (useQuery(queries.volumeList()).data?.items ?? []).filter(
    ({ id, vm, trashedAt }) => vm === null && trashedAt === null && (id === volume || !taken.includes(id)),
  )
  const image = images.find((candidate) => candidate.id === drive.image)
  const isDisk = drive.device === 'disk'
  const kind = t(isDisk ? 'disks.disk' : 'disks.cdrom')
  const name = complete === null ? kind : `${kind} ${complete.id}`
  const exists = drive.id !== undefined
  const change = (fields: Partial<DriveDraft>) =>
    form.update((draft) => ({
      ...draft,
      // A suggestion that was touched has become a choice.
      drives: draft.drives.map((row) =>
        row.key === drive.key ? { ...row, ...fields, origin: row.origin === 'boot' ? row.origin : 'own' } : row,
      ),
    }))
  const fixed = drive.origin === 'boot' ? t('disks.fromBoot') : isDisk && exists ? t('disks.imageFixed') : null
  /** What fills a new disk: nothing, an image, or a disk that exists and then is this one. */
  const choose = (value: string) => {
    const { volume: _, ...more } = drive.more ?? {}
    const existing = free.find(({ id }) => `volume:${id}` === value)
    if (existing === undefined) {
      // The size was that of the disk: a new one gets the server's again.
      const { sizeGiB, ...row } = drive
      const size = volume === undefined && sizeGiB !== undefined ? { sizeGiB } : {}
      const next = { ...row, ...size, image: value === '' ? null : value, more, origin: 'own' as const }
      form.update((draft) => ({ ...draft, drives: draft.drives.map((old) => (old.key === drive.key ? next : old)) }))
      return
    }
    const { pool: __, ...rest } = more
    change({ image: null, sizeGiB: ceilGiB(existing.sizeBytes), more: { ...rest, volume: existing.id } })
  }
  const fits = images.filter((candidate) => candidate.kind === (isDisk ? 'disk' : 'iso'))
  const error = form.errorOf(`disks.${index}`) ?? form.errorOf(`disks.${index}.id`)
  return (
    <div className="flex flex-col gap-2">
      <div className="flex items-start gap-2">
        <span className="mt-0.5 text-faint" aria-hidden="true">
          {isDisk ? <HardDrive size={16} /> : <Disc3 size={16} />}
        </span>
        <div className="min-w-0 flex-1">
          <div className="flex flex-wrap items-center gap-x-2 gap-y-1">
            <h3>{name}</h3>
            {complete && (
              <Badge>
                {complete.bootIndex === null
                  ? t('disks.neverBoots')
                  : t('disks.boots', { position: complete.bootIndex })}
              </Badge>
            )}
            {drive.origin === 'auto' && <span className="text-faint text-sm">{t('disks.suggested')}</span>}
            {drive.origin === 'drivers' && <span className="text-faint text-sm">{t('disks.drivers')}</span>}
          </div>
          <p className="text-faint text-sm">
            {t('disks.kind', { bus: String(drive.more?.bus ?? complete?.bus ?? (isDisk ? 'virtio-blk' : 'sata')) })}
          </p>
        </div>
        <IconButton
          size="sm"
          label={t('disks.remove', { device: name })}
          disabledReason={drive.origin === 'boot' ? t('disks.removeBoot') : null}
          onClick={() =>
            form.update((draft) => ({ ...draft, drives: draft.drives.filter((row) => row.key !== drive.key) }))
          }
        >
          <Trash2 size={14} aria-hidden="true" />
        </IconButton>
      </div>
      <div className="grid gap-3 ps-6 sm:grid-cols-2">
        {fixed === null ? (
          <Select
            label={t(isDisk ? 'disks.content' : 'disks.medium')}
            value={volume === undefined ? (drive.image ?? '') : `volume:${String(volume)}`}
            error={form.errorOf(`disks.${index}.image`) ?? form.errorOf(`disks.${index}.volume`)}
            onChange={(event) => choose(event.target.value)}
            options={[
              { value: '', label: t(isDisk ? 'disks.blank' : 'disks.empty') },
              ...(drive.image !== null && image === undefined
                ? [{ value: drive.image, label: t('disks.unknownImage') }]
                : []),
              ...fits.map((candidate) => ({
                value: candidate.id,
                label: isDisk ? t('disks.from', { image: candidate.name }) : candidate.name,
                disabled: !candidate.present,
              })),
              ...(isDisk && !exists
                ? free.map((one) => ({
                    value: `volume:${one.id}`,
                    label: tRoom('existing', { name: one.name, size: formatBytes(one.sizeBytes, locale) }),
                    disabled: one.problem !== null,
                  }))
                : []),
            ]}
          />
        ) : (
          <TextField
            label={t(isDisk ? 'disks.content' : 'disks.medium')}
            value={
              drive.image === null
                ? t(isDisk ? 'disks.blank' : 'disks.empty')
                : (image?.name ?? t('disks.unknownImage'))
            }
            readOnly
            disabledReason={fixed}
            error={form.errorOf(`disks.${index}.image`)}
          />
        )}
        {isDisk && (
          <NumberField
            label={t('disks.size')}
            aria-label={t('disks.sizeOf', { device: name })}
            unit="GiB"
            min={1}
            max={65_536}
            step={1}
            hint={exists ? tRoom('growHint') : t('disks.sizeHint')}
            disabledReason={
              volume !== undefined
                ? tRoom('sizeOfVolume')
                : exists && complete?.device === 'disk' && complete.shared
                  ? tRoom('growShared')
                  : null
            }
            value={
              drive.sizeGiB === undefined ? (complete?.device === 'disk' ? complete.sizeGiB : null) : drive.sizeGiB
            }
            // A proposed size is replaced by what is typed, not continued.
            onFocus={(event) => drive.sizeGiB === undefined && event.currentTarget.select()}
            onValue={(sizeGiB) => change({ sizeGiB })}
            error={form.errorOf(`disks.${index}.sizeGiB`)}
          />
        )}
        {isDisk && !exists && volume === undefined && (
          <PoolField
            device={name}
            value={typeof drive.more?.pool === 'string' ? drive.more.pool : undefined}
            sizeGiB={drive.sizeGiB ?? (complete?.device === 'disk' ? complete.sizeGiB : null)}
            error={form.errorOf(`disks.${index}.pool`)}
            onValue={(pool) => change({ more: { ...drive.more, pool } })}
          />
        )}
      </div>
      {isDisk && exists && (
        <div className="ps-6">
          <AfterGrowth guest={shownValue(form, 'guest')} />
        </div>
      )}
      <div className="ps-6">
        <Details form={form} kind="drive" index={index} />
      </div>
      {error && (
        <p role="alert" className="ps-6 text-crashed text-sm">
          {error}
        </p>
      )}
    </div>
  )
}
