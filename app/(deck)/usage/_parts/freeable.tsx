'use client'
import { Link } from '#components/nav/link.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { usage as messages } from '#lib/i18n/messages/en/usage.ts'
import { paths } from '#lib/paths.ts'
import type { UsageHolder } from '#lib/schema/quota.ts'
import { formatSearch, type SearchTerm } from '#lib/vm/search.ts'

type How = UsageHolder['freeable'][number]
const MIB = 2 ** 20

/** Where the VMs or disks in question are listed. */
function whereOf({ type, name }: UsageHolder, how: How['how']): string {
  if (how === 'empty-trash') return paths.storage()
  if (how === 'delete-free-disks') return paths.storage({ use: 'free' })
  if (how === 'delete-backups') return paths.backups()
  if (how === 'delete-images' || how === 'cancel-uploads') return paths.images()
  const term = (key: SearchTerm['key'], value: string): SearchTerm => ({
    ...{ key, value: value.toLowerCase(), negated: false },
  })
  const whose = type === 'project' ? [term('project', name)] : [term('owner', name), term('project', 'none')]
  if (how === 'delete-snapshots') return paths.vms(formatSearch(whose))
  const states =
    how === 'shut-down' || how === 'close-consoles'
      ? [term('state', 'running'), term('state', 'paused')]
      : [term('state', 'off'), term('state', 'crashed')]
  return paths.vms(formatSearch([...whose, ...states]))
}

/** What each holder could give back, with the way to it. */
export function Freeable({ holders }: { readonly holders: readonly UsageHolder[] }) {
  const t = useT(messages)
  const locale = useLocale()
  const lines = holders
    .flatMap((holder) => holder.freeable.map((how) => ({ holder, how })))
    .sort((a, b) => weight(b.how) - weight(a.how))
  return (
    <Section title={t('free.title')} note={lines.length > 0 ? t('free.note') : undefined}>
      {lines.length === 0 && <p className="text-faint">{t('free.none')}</p>}
      <ul className="-mt-3 flex flex-col">
        {lines.map(({ holder, how }) => {
          const what = t(`free.by.${how.how}`, { count: how.count })
          return (
            <li
              key={`${holder.type}:${holder.id} ${how.how}`}
              className="flex flex-wrap items-baseline gap-x-3 border-line border-b py-2"
            >
              <span className="min-w-0 flex-1 basis-56">
                <span className="break-words font-medium">{holder.name}</span>
                <span className="block text-dim">{what}</span>
              </span>
              <span className="figures text-dim">
                {how.how === 'shut-down'
                  ? t('free.memory', { memory: formatMiB(how.memoryMiB, locale), cpus: how.vcpus })
                  : how.how === 'delete-snapshots' || how.how === 'close-consoles'
                    ? t('free.unknown')
                    : t('free.bytes', { size: formatBytes(how.bytes, locale) })}
              </span>
              <Link href={whereOf(holder, how.how)} aria-label={t('free.showOf', { what, name: holder.name })}>
                {t('free.show')}
              </Link>
            </li>
          )
        })}
      </ul>
    </Section>
  )
}

const weight = ({ memoryMiB, bytes }: How) => memoryMiB * MIB + bytes
