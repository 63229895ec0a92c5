'use client'
import { useQuery } from '@tanstack/react-query'
import { ButtonLink } from '#components/nav/link.tsx'
import { Section } from '#components/ui/page.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { room as messages } from '#lib/i18n/messages/en/room.ts'
import { paths } from '#lib/paths.ts'

/** What waits for a person: pools and disks in trouble, room that runs out, guests that their disks stopped. */
export function StorageNeeds() {
  const t = useT(messages)
  const needs = useQuery(queries.storageNeeds()).data?.items ?? []
  if (needs.length === 0) return null
  return (
    <Section title={t('needsTitle')} note={<span className="figures">{needs.length}</span>}>
      <ul className="-mt-3 flex flex-col">
        {needs.map(({ id, title, detail, vmId }) => (
          <li key={id} className="flex flex-wrap items-center gap-x-3 gap-y-2 border-line border-b py-2">
            <MarkIcon mark="attention" />
            <div className="min-w-0 flex-1 basis-60">
              <p className="break-words font-medium">{title}</p>
              <p className="text-dim text-sm">{detail}</p>
            </div>
            {vmId && (
              <ButtonLink size="sm" href={paths.vm(vmId)} className="max-sm:ms-6">
                {t('look')}
              </ButtonLink>
            )}
          </li>
        ))}
      </ul>
    </Section>
  )
}
