'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { quotas as messages } from '#lib/i18n/messages/en/quotas.ts'
import { PROJECT_QUOTA_ITEMS, QUOTA_ITEMS, type QuotaItem, type QuotaLimits, type QuotaUse } from '#lib/schema/quota.ts'
import { formatQuota } from './quota-format.ts'

const UNIT: Partial<Record<QuotaItem, string>> = {
  memoryMiB: 'MiB',
  runningMemoryMiB: 'MiB',
  libraryMiB: 'MiB',
  diskGiB: 'GiB',
  backupGiB: 'GiB',
}

export interface LimitsOf {
  readonly type: 'person' | 'project' | 'default'
  readonly id: string
  readonly name: string
  readonly limits: QuotaLimits
  /** Null: of everybody. */
  readonly used: QuotaUse | null
  /** Whether they are this holder's own. */
  readonly own: boolean
}

/** How much a person, a project, or everybody may have. */
export function LimitsDialog({ of, onClose }: { readonly of: LimitsOf; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const [limits, setLimits] = useState(of.limits)
  const isDefault = of.type === 'default'
  const { mutate, isPending, error } = useOperation('quotaUpdate', {
    onSuccess: () => {
      showToast({ kind: 'done', title: isDefault ? t('edit.savedDefault') : t('edit.saved', { name: of.name }) })
      onClose()
    },
  })
  const isBad = (value: number | null) => value !== null && (!Number.isInteger(value) || value < 0)
  const send = (next: QuotaLimits | null) =>
    mutate({ input: { params: { type: of.type, id: of.id }, body: { limits: next } } })
  return (
    <Dialog
      title={isDefault ? t('edit.titleDefault') : t('edit.title', { name: of.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          {of.type === 'person' && of.own && (
            <Button pending={isPending} onClick={() => send(null)}>
              {t('edit.clear')}
            </Button>
          )}
          <Button type="submit" form="limits" variant="primary" pending={isPending}>
            {tApp('save')}
          </Button>
        </>
      }
    >
      <form
        id="limits"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (!QUOTA_ITEMS.some((item) => isBad(limits[item]))) send(limits)
        }}
      >
        {error && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <p className="text-dim">{t(isDefault ? 'edit.introDefault' : 'edit.intro')}</p>
        {of.type === 'person' && !of.own && <p className="text-dim">{t('edit.ofEverybody', { name: of.name })}</p>}
        <div className="grid gap-4 sm:grid-cols-2">
          {(of.type === 'project' ? PROJECT_QUOTA_ITEMS : QUOTA_ITEMS).map((item) => (
            <NumberField
              key={item}
              label={t(`item.${item}`)}
              min={0}
              value={limits[item]}
              onValue={(value) => setLimits({ ...limits, [item]: value })}
              hint={of.used === null ? undefined : `${formatQuota(item, of.used[item], locale)} ${t('usedPart')}`}
              error={isBad(limits[item]) ? t('edit.bad') : undefined}
              {...(UNIT[item] === undefined ? {} : { unit: UNIT[item] })}
            />
          ))}
        </div>
      </form>
    </Dialog>
  )
}
