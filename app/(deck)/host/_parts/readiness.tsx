'use client'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Section } from '#components/ui/page.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { host as messages } from '#lib/i18n/messages/en/host.ts'
import type { Host, ReadinessItem } from '#lib/schema/host.ts'
import { groupReadiness } from '#lib/vm/readiness.ts'

/** Missing matters only where it is needed. */
const markOf = (item: ReadinessItem): Mark => {
  if (item.state === 'ok') return 'running'
  if (item.state === 'unknown') return 'off'
  if (item.state === 'broken' || item.need === 'required') return item.need === 'required' ? 'crashed' : 'attention'
  return 'off'
}

/** What is installed and what is not: required, optional, one of several; each with the command that brings it. */
export function Readiness({ host }: { readonly host: Host }) {
  const t = useT(messages)
  const tApp = useT(app)
  return (
    <Section title={t('readiness.title')}>
      {host.installCommand && (
        <div className="flex flex-wrap items-center gap-x-3 gap-y-1 rounded-md border border-line bg-sunken px-3 py-2">
          <span className="font-medium">{t('readiness.all')}</span>
          <code className="min-w-0 flex-1 basis-60 break-all font-mono text-sm">{host.installCommand}</code>
          <CopyButton text={host.installCommand} label={t('readiness.copyAll')} copiedLabel={tApp('copied')} />
        </div>
      )}
      <div className="gap-x-8 lg:columns-2">
        {groupReadiness(host.readiness).map((group) => (
          <div key={`${group.need}${group.name ?? ''}`} className="mb-4 min-w-0">
            <h3 className="break-after-avoid text-faint">
              {group.need === 'pick-one'
                ? t('readiness.pickOne', { group: group.name ?? '' })
                : t(`readiness.${group.need}`)}
            </h3>
            <ul className="flex flex-col">
              {group.items.map((item) => (
                <li
                  key={item.id}
                  className="grid grid-cols-[0.75rem_minmax(0,1fr)] gap-x-3 break-inside-avoid border-line border-b py-2 last:border-b-0"
                >
                  <span className="mt-1">
                    <MarkIcon mark={markOf(item)} />
                  </span>
                  <div className="min-w-0">
                    <p className="flex flex-wrap items-baseline gap-x-2">
                      <span className="font-medium">{item.title}</span>
                      {item.version && <span className="figures font-mono text-dim text-sm">{item.version}</span>}
                      <span className="ms-auto text-faint text-sm">{t(`readiness.state.${item.state}`)}</span>
                    </p>
                    <p className="text-dim text-sm">{item.purpose}</p>
                    {item.state !== 'ok' && item.detail && <p className="break-words text-sm">{item.detail}</p>}
                    {item.state !== 'ok' && item.command && (
                      <p className="flex items-center gap-1">
                        <code className="min-w-0 break-all font-mono text-sm">{item.command}</code>
                        <CopyButton
                          text={item.command}
                          label={t('readiness.copy', { name: item.title })}
                          copiedLabel={tApp('copied')}
                        />
                      </p>
                    )}
                  </div>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </div>
    </Section>
  )
}
