'use client'
import type { LimitsOf } from '#components/access/limits-dialog.tsx'
import { formatQuota, isNearly } from '#components/access/quota-format.ts'
import { Link } from '#components/nav/link.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { EmptyState } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useCan, useUser } from '#lib/client/session.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { quotas } from '#lib/i18n/messages/en/quotas.ts'
import { usage as messages } from '#lib/i18n/messages/en/usage.ts'
import { paths } from '#lib/paths.ts'
import { QUOTA_ITEMS, type UsageHolder } from '#lib/schema/quota.ts'

/** One line for each person and project: what is used, and below it the limit. */
export function HolderTable({
  holders,
  onEdit,
}: {
  readonly holders: readonly UsageHolder[]
  readonly onEdit: (of: LimitsOf) => void
}) {
  const t = useT(messages)
  const tQuota = useT(quotas)
  const maySet = useCan('quota.manage')
  return (
    <Section title={t('table.title')} note={<span className="figures">{holders.length}</span>}>
      {holders.length === 0 ? (
        <EmptyState title={t('table.empty')} />
      ) : (
        <section
          aria-label={t('table.label')}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
          tabIndex={0}
          className="relative -mt-3 overflow-x-auto"
        >
          <table className="w-full min-w-[64rem]">
            <thead className="text-dim text-sm">
              <tr className="h-11 border-line border-b align-bottom">
                <th scope="col" className="sticky start-0 bg-canvas pb-1.5">
                  {t('table.name')}
                </th>
                {QUOTA_ITEMS.map((item) => (
                  <th key={item} scope="col" className="w-20 px-2 pb-1.5 text-end! font-normal">
                    {tQuota(`item.${item}`)}
                  </th>
                ))}
                <th scope="col" className="w-20 px-2 pb-1.5 text-end! font-normal">
                  {t('table.onDisk')}
                </th>
                <th scope="col" className="w-24">
                  <span className="sr-only">{t('table.actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {holders.map((holder) => (
                <Row
                  key={`${holder.type}:${holder.id}`}
                  holder={holder}
                  mayNot={maySet ? null : tQuota('edit.mayNot')}
                  onEdit={onEdit}
                />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </Section>
  )
}

function Row({
  holder,
  mayNot,
  onEdit,
}: {
  readonly holder: UsageHolder
  readonly mayNot: string | null
  readonly onEdit: (of: LimitsOf) => void
}) {
  const t = useT(messages)
  const tQuota = useT(quotas)
  const locale = useLocale()
  const isOwn = useUser()?.id === holder.id
  const { name, used, limits } = holder
  return (
    <tr className="border-line border-b">
      <th scope="row" className="sticky start-0 max-w-56 bg-canvas py-1.5 pe-2 text-start font-normal">
        <span className="block truncate font-medium">
          {holder.type === 'project' ? <Link href={paths.project(holder.id)}>{name}</Link> : name}
        </span>
        <span className="flex flex-wrap items-center gap-1.5 text-faint text-sm">
          {t(`table.${holder.type}`)}
          {isOwn && <Badge tone="accent">{t('table.you')}</Badge>}
          {holder.type === 'person' && holder.own && <Badge tip={t('table.ownTip')}>{t('table.ownLimits')}</Badge>}
        </span>
      </th>
      {QUOTA_ITEMS.map((item) => {
        const limit = limits[item]
        return (
          <td key={item} className="figures px-2 text-end">
            <span
              className={cx(
                'block',
                used[item] === 0 && 'text-faint',
                limit !== null && used[item] > limit && 'font-medium text-crashed',
                isNearly(used[item], limit) && limit !== null && used[item] <= limit && 'text-attention',
              )}
            >
              {formatQuota(item, used[item], locale)}
            </span>
            {limit !== null && (
              <span className="block whitespace-nowrap text-faint text-xs">/ {formatQuota(item, limit, locale)}</span>
            )}
          </td>
        )
      })}
      <td className="figures px-2 text-end">{formatBytes(holder.allocatedBytes, locale)}</td>
      <td className="text-end">
        <Button
          size="sm"
          variant="quiet"
          disabledReason={mayNot}
          aria-label={tQuota('edit.actionOf', { name })}
          onClick={() => onEdit(holder)}
        >
          {tQuota('edit.action')}
        </Button>
      </td>
    </tr>
  )
}
