'use client'
import type { LimitsOf } from '#components/access/limits-dialog.tsx'
import { formatQuota } from '#components/access/quota-format.ts'
import { Button } from '#components/ui/button.tsx'
import { Facts, Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { quotas } from '#lib/i18n/messages/en/quotas.ts'
import { usage as messages } from '#lib/i18n/messages/en/usage.ts'
import { QUOTA_ITEMS, type QuotaLimits } from '#lib/schema/quota.ts'

/** What counts for whoever has no limits of their own. */
export function Defaults({
  limits,
  onEdit,
}: {
  readonly limits: QuotaLimits
  readonly onEdit: (of: LimitsOf) => void
}) {
  const t = useT(messages)
  const tQuota = useT(quotas)
  const locale = useLocale()
  const maySet = useCan('quota.manage')
  return (
    <Section
      title={t('defaults.title')}
      note={t('defaults.note')}
      actions={
        <Button
          size="sm"
          disabledReason={maySet ? null : tQuota('edit.mayNot')}
          aria-label={tQuota('edit.actionOf', { name: t('defaults.title') })}
          onClick={() =>
            onEdit({ type: 'default', id: 'default', name: t('defaults.title'), limits, used: null, own: true })
          }
        >
          {tQuota('edit.action')}
        </Button>
      }
    >
      <Facts
        className="figures max-w-md"
        facts={QUOTA_ITEMS.map((item) => {
          const limit = limits[item]
          return {
            label: tQuota(`item.${item}`),
            value:
              limit === null ? (
                <span className="text-faint">{t('defaults.none')}</span>
              ) : (
                formatQuota(item, limit, locale)
              ),
          }
        })}
      />
    </Section>
  )
}
