'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { CircleSlash, Disc3, HardDrive } from 'lucide-react'
import { useMemo, useState } from 'react'
import { RadioCards, type RadioOption } from '#components/ui/choice.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { toApiError } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { osText } from '#lib/image-facts.ts'
import type { Image, Starter } from '#lib/schema/image.ts'
import { GetImage } from './get-image.tsx'
import { UploadBox } from './upload-box.tsx'
import type { CreateForm } from './use-create-form.ts'

const FILTER_FROM = 7
const NOTHING = 'nothing'

/** Starters, the library, a file from here, or nothing: one choice over all of them. */
export function BootSection({ page }: { readonly page: CreateForm }) {
  const t = useT(create)
  const locale = useLocale()
  const client = useQueryClient()
  const images = useQuery(queries.imageList())
  const starters = useQuery(queries.starterList())
  const addStarter = useOperation('starterAdd')
  const [query, setQuery] = useState('')
  const [failed, setFailed] = useState<string | null>(null)
  const all = images.data?.items
  const fromStarters = useMemo(
    () => new Set(starters.data?.items.flatMap((starter) => (starter.image === null ? [] : [starter.image as string]))),
    [starters.data],
  )
  const library = (all ?? []).filter((image) => !fromStarters.has(image.id))
  const shown = library.filter((image) => image.name.toLowerCase().includes(query.trim().toLowerCase()))
  // The choice shows at once, while the host still adds it.
  const adding = addStarter.isPending ? addStarter.variables.input.params.id : null
  const value = adding !== null || page.boot === undefined ? null : (page.boot?.id ?? NOTHING)
  const starterValue =
    adding ?? starters.data?.items.find((starter) => starter.image !== null && starter.image === value)?.id ?? null

  const imageOption = (image: Image): RadioOption<string> => ({
    value: image.id,
    label: image.name,
    icon: image.kind === 'iso' ? <Disc3 size={15} aria-hidden="true" /> : <HardDrive size={15} aria-hidden="true" />,
    description: [
      t(image.kind === 'iso' ? 'boot.iso' : 'boot.disk'),
      formatBytes(image.kind === 'iso' ? image.sizeBytes : image.virtualSizeBytes, locale),
      image.os !== null ? osText(image.os) : image.guest === null ? '' : t(`guest.${image.guest}`),
      t('boot.usedBy', { count: image.usedBy.length }),
    ]
      .filter(Boolean)
      .join(' · '),
    disabledReason: image.present ? null : t('boot.gone'),
  })
  const starterOption = (starter: Starter): RadioOption<string> => ({
    value: starter.id,
    label: starter.name,
    icon: <Disc3 size={15} aria-hidden="true" />,
    description: adding === starter.id ? t('boot.adding') : starter.purpose,
    disabledReason: starter.available
      ? null
      : [starter.detail, starter.installCommand].filter(Boolean).join(' ') || t('boot.gone'),
  })
  const chooseStarter = (id: string) => {
    const starter = starters.data?.items.find((candidate) => candidate.id === id)
    if (starter === undefined) return
    setFailed(null)
    const known = all?.find((image) => image.id === starter.image)
    if (known) {
      page.choose(known)
      return
    }
    addStarter.mutate(
      { input: { params: { id: starter.id } } },
      {
        onSuccess: (image) => page.choose(image),
        onError: (error) => setFailed(`${t('boot.addFailed', { name: starter.name })}: ${error.message}`),
      },
    )
  }
  return (
    <Section title={t('boot.title')} note={t('boot.note')}>
      {/* biome-ignore lint/a11y/useSemanticElements: the fieldsets inside are the parts of this one choice */}
      <div role="group" aria-label={t('boot.title')} id="field-boot" tabIndex={-1} className="flex flex-col gap-4">
        {images.isPending ? (
          <div className="grid gap-2 sm:grid-cols-2" aria-busy="true">
            <Skeleton className="h-16" />
            <Skeleton className="h-16" />
          </div>
        ) : images.isError ? (
          <Banner tone="error">{toApiError(images.error).message}</Banner>
        ) : library.length === 0 ? (
          <p className="text-dim">{t('boot.empty')}</p>
        ) : (
          <div className="flex flex-col gap-2">
            {library.length >= FILTER_FROM && (
              <TextField
                label={t('boot.filter')}
                hideLabel
                type="search"
                placeholder={t('boot.filter')}
                value={query}
                onChange={(event) => setQuery(event.target.value)}
              />
            )}
            {shown.length === 0 ? (
              <p className="text-dim">{t('boot.filterNone', { query })}</p>
            ) : (
              <div className="max-h-72 -m-0.5 overflow-y-auto p-0.5">
                <RadioCards
                  legend={t('boot.library')}
                  name="boot"
                  value={value}
                  onValue={(id) => page.choose(library.find((image) => image.id === id) ?? null)}
                  options={shown.map(imageOption)}
                />
              </div>
            )}
          </div>
        )}
        <UploadBox
          onUploaded={(image) => {
            void client.invalidateQueries({ queryKey: ['imageList'] })
            page.choose(image)
          }}
        />
        <GetImage images={all ?? []} onGot={page.choose} />
        {starters.data && starters.data.items.length > 0 && (
          <RadioCards
            legend={t('boot.starters')}
            name="boot"
            value={starterValue}
            onValue={chooseStarter}
            options={starters.data.items.map(starterOption)}
          />
        )}
        {failed && <Banner tone="error">{failed}</Banner>}
        <RadioCards
          legend={t('boot.other')}
          name="boot"
          value={value === NOTHING ? NOTHING : null}
          onValue={() => page.choose(null)}
          options={[
            {
              value: NOTHING,
              label: t('boot.nothing'),
              description: t('boot.nothingHint'),
              icon: <CircleSlash size={15} aria-hidden="true" />,
            },
          ]}
        />
      </div>
    </Section>
  )
}
