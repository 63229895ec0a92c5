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
import { spec } from '#lib/i18n/messages/en/spec.ts'
import type { Image } from '#lib/schema/image.ts'
import { GIB } from '#lib/units.ts'
import type { DriveDraft } from '../spec-draft.ts'
import { Details } from './details.tsx'
import { effectiveDrive, rowKey, type SpecForm } from './form.ts'
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
  const complete = effectiveDrive(form, index)
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
            value={drive.image ?? ''}
            error={form.errorOf(`disks.${index}.image`)}
            onChange={(event) => change({ image: event.target.value === '' ? null : event.target.value })}
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
            hint={t('disks.sizeHint')}
            disabledReason={exists ? t('disks.sizeFixed') : null}
            value={
              drive.sizeGiB === undefined ? (complete?.device === 'disk' ? complete.sizeGiB : null) : drive.sizeGiB
            }
            // A proposed size is replaced by what is typed, not continued.
            onFocus={(event) => drive.sizeGiB === undefined && event.currentTarget.select()}
            onValue={(sizeGiB) => change({ sizeGiB })}
            error={form.errorOf(`disks.${index}.sizeGiB`)}
          />
        )}
      </div>
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
