'use client'
import { CornerLeftUp, Download, File, FileSymlink, Folder as FolderIcon, Puzzle } from 'lucide-react'
import { useRef, useState } from 'react'
import { Link } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner, EmptyState } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatBytes, formatNumber } from '#lib/i18n/format.ts'
import { files as messages } from '#lib/i18n/messages/en/files.ts'
import { type DiskFile, type DiskFiles, FILES_PAGE } from '#lib/schema/disk-files.ts'
import type { FilesState } from './use-files-state.ts'

const ICON = { file: File, directory: FolderIcon, symlink: FileSymlink, other: Puzzle } as const
const FILTER_FROM = 8

interface FolderProps {
  readonly files: DiskFiles
  /** Another folder is on its way. */
  readonly isBusy: boolean
  readonly addressOf: (change: Partial<Omit<FilesState, 'of'>>) => string
  readonly onGo: (change: Partial<Omit<FilesState, 'of'>>) => void
  readonly contentUrl: (path: string) => string
}

/** One folder: where it is, and what is in it. Backspace goes up, arrows move, Enter opens. */
export function Folder({ files, isBusy, addressOf, onGo, contentUrl }: FolderProps) {
  const t = useT(messages)
  const locale = useLocale()
  const [query, setQuery] = useState('')
  const list = useRef<HTMLTableSectionElement>(null)
  const { steps, entries, offset, total } = files
  const parent = steps.length === 0 ? null : (steps.at(-2)?.path ?? '/')
  const wanted = query.trim().toLowerCase()
  const shown = entries.filter(({ name }) => name.toLowerCase().includes(wanted))
  const to = offset + entries.length
  const move = (by: 1 | -1) => {
    const links = [...(list.current?.querySelectorAll<HTMLElement>('[data-entry]') ?? [])]
    const at = links.indexOf(document.activeElement as HTMLElement)
    links[Math.min(links.length - 1, Math.max(0, at + by))]?.focus()
  }
  return (
    <section aria-label={t('path')} aria-busy={isBusy} className="flex min-w-0 flex-col gap-3">
      <nav aria-label={t('path')}>
        <ol className="flex flex-wrap items-center gap-1">
          {[{ name: t('top'), path: '/' }, ...steps].map((step, index, all) => (
            <li key={step.path} className="flex min-w-0 items-center gap-1">
              {index > 0 && (
                <span aria-hidden="true" className="text-faint">
                  /
                </span>
              )}
              {index === all.length - 1 ? (
                <span aria-current="page" className="break-all font-medium">
                  <bdi>{step.name}</bdi>
                </span>
              ) : (
                <Link href={addressOf({ part: files.part, path: step.path })} className="break-all text-dim">
                  <bdi>{step.name}</bdi>
                </Link>
              )}
            </li>
          ))}
        </ol>
      </nav>
      {(entries.length >= FILTER_FROM || query !== '') && (
        <TextField
          className="max-w-sm"
          type="search"
          label={t('filter')}
          value={query}
          onChange={(event) => setQuery(event.target.value)}
        />
      )}
      {entries.length === 0 && parent === null ? (
        <EmptyState title={t('empty')} />
      ) : (
        <table
          className="w-full table-fixed"
          onKeyDown={(event) => {
            if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
              event.preventDefault()
              move(event.key === 'ArrowDown' ? 1 : -1)
            }
            if (event.key === 'Backspace' && parent !== null) onGo({ part: files.part, path: parent })
          }}
        >
          <thead className="text-dim text-sm max-md:sr-only">
            <tr className="h-8 border-line border-b">
              <th scope="col">{t('name')}</th>
              <th scope="col" className="w-28 px-2 text-end">
                {t('size')}
              </th>
              <th scope="col" className="w-36 px-2 max-lg:hidden">
                {t('changed')}
              </th>
              <th scope="col" className="w-28 px-2 max-lg:hidden">
                {t('rights')}
              </th>
            </tr>
          </thead>
          <tbody ref={list}>
            {parent !== null && (
              <tr className="h-9 border-line border-b hover:bg-hover">
                <td colSpan={4}>
                  <Link
                    data-entry=""
                    href={addressOf({ part: files.part, path: parent })}
                    className="flex min-h-9 items-center gap-2"
                  >
                    <CornerLeftUp size={15} aria-hidden="true" className="shrink-0 text-faint" />
                    {t('up')}
                  </Link>
                </td>
              </tr>
            )}
            {shown.map((entry) => (
              <Row
                key={entry.path}
                entry={entry}
                href={addressOf({ part: files.part, path: entry.path })}
                contentUrl={contentUrl}
              />
            ))}
          </tbody>
        </table>
      )}
      {entries.length === 0 && parent !== null && <p className="text-dim">{t('empty')}</p>}
      {wanted !== '' && shown.length === 0 && <p className="text-dim">{t('filterNone', { query: query.trim() })}</p>}
      {total > entries.length && (
        <div className="flex flex-wrap items-center gap-3">
          <span className="figures text-dim text-sm">
            {t('shown', { from: offset + 1, to, total: formatNumber(total, locale) })}
          </span>
          {offset > 0 && (
            <Button size="sm" onClick={() => onGo({ part: files.part, offset: Math.max(0, offset - FILES_PAGE) })}>
              {t('previous', { count: FILES_PAGE })}
            </Button>
          )}
          {to < total && (
            <Button size="sm" onClick={() => onGo({ part: files.part, offset: to })}>
              {t('next', { count: Math.min(FILES_PAGE, total - to) })}
            </Button>
          )}
        </div>
      )}
      {files.isCut && <Banner tone="attention">{t('cut')}</Banner>}
    </section>
  )
}

function Row({
  entry,
  href,
  contentUrl,
}: {
  readonly entry: DiskFile
  readonly href: string
  readonly contentUrl: (path: string) => string
}) {
  const t = useT(messages)
  const locale = useLocale()
  const Icon = ICON[entry.type]
  const icon = <Icon size={15} aria-hidden="true" className="shrink-0 text-faint" />
  // A name may be written in either direction; it must not turn what stands beside it.
  const name = <bdi className="min-w-0 break-all">{entry.name}</bdi>
  const line = 'flex min-h-9 min-w-0 items-center gap-2'
  return (
    <tr className="h-9 border-line border-b hover:bg-hover">
      <td className="pe-2">
        {entry.type === 'directory' ? (
          <Link data-entry="" href={href} aria-label={t('open', { name: entry.name })} className={line}>
            {icon}
            {name}
          </Link>
        ) : entry.type === 'file' && entry.problem === null ? (
          <a
            data-entry=""
            href={contentUrl(entry.path)}
            download=""
            aria-label={t('save', { name: entry.name })}
            className={`${line} hover:underline`}
          >
            {icon}
            {name}
            <Download size={13} aria-hidden="true" className="shrink-0 text-faint" />
          </a>
        ) : (
          <span className={line}>
            {icon}
            <span className="min-w-0">
              {name}
              {entry.target !== null && (
                <span className="block break-all text-faint text-sm">{t('target', { target: entry.target })}</span>
              )}
              {entry.problem !== null && <span className="block text-attention text-sm">{entry.problem}</span>}
              {entry.type === 'other' && entry.problem === null && (
                <span className="block text-faint text-sm">{t('other')}</span>
              )}
            </span>
          </span>
        )}
      </td>
      <td className="figures px-2 text-end text-dim">
        {entry.sizeBytes === null ? '' : formatBytes(entry.sizeBytes, locale)}
      </td>
      <td className="px-2 text-dim max-lg:hidden">{entry.modifiedAt && <Time at={entry.modifiedAt} />}</td>
      <td className="px-2 font-mono text-faint text-xs max-lg:hidden">{entry.mode}</td>
    </tr>
  )
}
