'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { momentField, momentOf } from '#lib/lab/local-time.ts'
import type { VmLease } from '#lib/schema/lab.ts'

/** The end of a lease as a date, or none. */
export function LeaseDialog({
  lease,
  name,
  onClose,
}: {
  readonly lease: VmLease
  readonly name: string
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const locale = useLocale()
  const { choices } = lease
  const begin = lease.lab.lease?.endsAt ?? choices.extendsTo
  const [end, setEnd] = useState(begin === null ? '' : momentField(new Date(begin)))
  const [isTried, setTried] = useState(false)
  const { mutate, isPending, error } = useOperation('vmLeaseSet', { onSuccess: onClose })
  const at = momentOf(end)
  const send = (endsAt: string | null) => mutate({ input: { params: { id: lease.vmId }, body: { endsAt } } })
  return (
    <Dialog
      title={t('lease.setTitle', { name })}
      closeLabel={t('close')}
      onClose={onClose}
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{t('cancel')}</Button>
          {lease.lab.lease !== null && (
            <Button
              disabledReason={choices.mayRemove ? null : t('lease.removeReason')}
              pending={isPending}
              onClick={() => send(null)}
            >
              {t('lease.remove')}
            </Button>
          )}
          <Button type="submit" form="lease-form" variant="primary" pending={isPending}>
            {t('save')}
          </Button>
        </>
      }
    >
      <form
        id="lease-form"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          setTried(true)
          if (at !== null) send(at.toISOString())
        }}
      >
        {error && error.field !== 'endsAt' && <Banner tone="error">{error.message}</Banner>}
        <TextField
          type="datetime-local"
          label={t('lease.endField')}
          value={end}
          onChange={(event) => setEnd(event.target.value)}
          hint={
            choices.latest === null
              ? t('lease.endHint')
              : `${t('lease.endHint')} ${t('lease.latest', { date: formatAbsolute(choices.latest, locale) })}`
          }
          error={isTried && at === null ? t('lease.badDate') : error?.field === 'endsAt' ? error.message : undefined}
        />
      </form>
    </Dialog>
  )
}
