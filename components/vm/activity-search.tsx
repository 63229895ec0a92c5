'use client'
import { useQuery } from '@tanstack/react-query'
import { Download, ShieldCheck } from 'lucide-react'
import { useRouter, useSearchParams } from 'next/navigation'
import { type FormEvent, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { TextField } from '#components/ui/field.tsx'
import type { Search } from '#lib/client/activity-pages.ts'
import { operationUrl } from '#lib/client/api-client.ts'
import { dayRange } from '#lib/client/day-range.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { activity as messages } from '#lib/i18n/messages/en/activity.ts'

/** What the address says is searched for. */
export function useActivitySearch(): Search {
  const params = useSearchParams()
  const text = params.get('q')?.trim().slice(0, 200)
  const who = params.get('who')?.trim().slice(0, 64)
  return { ...(text ? { text } : {}), ...(who ? { who } : {}), ...dayRange(params.get('from'), params.get('until')) }
}

/** Search, export and check of the whole log; the address holds what is searched for. */
export function ActivitySearchBar() {
  const t = useT(messages)
  const router = useRouter()
  const params = useSearchParams()
  const search = useActivitySearch()
  const [checking, setChecking] = useState(false)
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const next = new URLSearchParams(params)
    for (const name of ['q', 'who', 'from', 'until']) {
      const value = String(form.get(name) ?? '').trim()
      if (value === '') next.delete(name)
      else next.set(name, value)
    }
    router.replace(`?${next.toString()}`, { scroll: false })
  }
  return (
    <section aria-label={t('search.title')} className="flex flex-col gap-3">
      <form onSubmit={submit} className="flex flex-wrap items-end gap-2">
        <TextField
          key={`q-${search.text ?? ''}`}
          name="q"
          type="search"
          label={t('search.text')}
          defaultValue={search.text ?? ''}
          className="min-w-48 flex-1"
        />
        <TextField
          key={`who-${search.who ?? ''}`}
          name="who"
          label={t('search.who')}
          defaultValue={search.who ?? ''}
          className="w-40"
        />
        {(['from', 'until'] as const).map((name) => (
          <TextField
            key={`${name}-${params.get(name) ?? ''}`}
            name={name}
            type="date"
            label={t(`search.${name}`)}
            defaultValue={params.get(name) ?? ''}
            className="w-36"
          />
        ))}
        <Button type="submit">{t('search.go')}</Button>
        {Object.keys(search).length > 0 && (
          <Button variant="quiet" onClick={() => router.replace('?', { scroll: false })}>
            {t('search.clear')}
          </Button>
        )}
      </form>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2 text-sm">
        <a
          className="inline-flex text-accent hover:underline items-center gap-1.5"
          href={operationUrl('activityExportCsv', { query: search })}
          download
        >
          <Download size={14} aria-hidden="true" />
          {t('export.csv')}
        </a>
        <a
          className="inline-flex text-accent hover:underline items-center gap-1.5"
          href={operationUrl('activityExportJson', { query: search })}
          download
        >
          <Download size={14} aria-hidden="true" />
          {t('export.jsonl')}
        </a>
        <Button
          size="sm"
          variant="quiet"
          icon={<ShieldCheck size={14} aria-hidden="true" />}
          onClick={() => setChecking(true)}
        >
          {t('verify.go')}
        </Button>
      </div>
      {checking && <Verdict />}
    </section>
  )
}

function Verdict() {
  const t = useT(messages)
  const { data, error, isFetching } = useQuery({ ...queries.activityVerify(), staleTime: 0 })
  if (isFetching) return <p role="status">{t('verify.running')}</p>
  if (error || !data) return <p role="alert">{t('verify.failed')}</p>
  return (
    <div role="status" className="flex flex-col gap-1 text-sm">
      <p className={data.isIntact ? '' : 'text-crashed'}>
        {data.isIntact ? t('verify.intact', { lines: data.lines }) : t('verify.broken', { line: data.brokenAt ?? 0 })}
      </p>
      {data.unchained > 0 && <p className="text-faint">{t('verify.unchained', { lines: data.unchained })}</p>}
      {data.head !== null && (
        <p className="flex flex-wrap items-center gap-2 text-faint">
          {t('verify.head')} <code className="break-all font-mono text-xs">{data.head}</code>
          <CopyButton text={data.head} label={t('verify.copy')} copiedLabel={t('verify.copied')} />
        </p>
      )}
    </div>
  )
}
