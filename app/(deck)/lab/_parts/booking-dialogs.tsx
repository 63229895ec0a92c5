'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { Facts } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { momentField, momentOf } from '#lib/lab/local-time.ts'
import type { BookableView, Booking } from '#lib/schema/lab.ts'
import { keyOf } from './device-name.ts'

const HOUR_MS = 3_600_000

/** A device, from when and until when. */
export function BookDialog({
  devices,
  chosen,
  day,
  onClose,
}: {
  readonly devices: readonly BookableView[]
  readonly chosen: string
  readonly day: Date
  readonly onClose: () => void
}) {
  const t = useT(messages)
  // Nine in the morning of that day, or the next whole hour where that has passed.
  const [begin] = useState(() => {
    const nine = new Date(day.getFullYear(), day.getMonth(), day.getDate(), 9)
    return nine.getTime() > Date.now() ? nine : new Date(Math.ceil(Date.now() / HOUR_MS) * HOUR_MS)
  })
  const [key, setKey] = useState(chosen)
  const [from, setFrom] = useState(momentField(begin))
  const [until, setUntil] = useState(momentField(new Date(begin.getTime() + 4 * HOUR_MS)))
  const [note, setNote] = useState('')
  const [isTried, setTried] = useState(false)
  const device = devices.find((one) => keyOf(one.device) === key)
  const { mutate, isPending, error } = useOperation('bookingCreate', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('booking.done', { device: device?.name ?? '' }) })
      onClose()
    },
  })
  const [fromAt, untilAt] = [momentOf(from), momentOf(until)]
  const wrong = (field: string, at: Date | null) =>
    isTried && at === null ? t('lease.badDate') : error?.field === field ? error.message : undefined
  return (
    <Dialog
      title={t('booking.dialog')}
      closeLabel={t('close')}
      onClose={onClose}
      width="md"
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" form="booking-form" variant="primary" pending={isPending}>
            {t('booking.submit')}
          </Button>
        </>
      }
    >
      <form
        id="booking-form"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          setTried(true)
          if (device === undefined || fromAt === null || untilAt === null) return
          mutate({
            input: {
              body: {
                device: device.device,
                from: fromAt.toISOString(),
                until: untilAt.toISOString(),
                note: note.trim(),
              },
            },
          })
        }}
      >
        {error && !['from', 'until', 'note'].includes(error.field ?? '') && (
          <Banner tone="error">{error.message}</Banner>
        )}
        <Select
          label={t('booking.device')}
          value={key}
          onChange={(event) => setKey(event.target.value)}
          options={devices.map((one) => ({ value: keyOf(one.device), label: one.name }))}
        />
        <div className="grid gap-4 sm:grid-cols-2">
          <TextField
            type="datetime-local"
            label={t('booking.from')}
            value={from}
            onChange={(event) => setFrom(event.target.value)}
            error={wrong('from', fromAt)}
          />
          <TextField
            type="datetime-local"
            label={t('booking.until')}
            value={until}
            onChange={(event) => setUntil(event.target.value)}
            error={wrong('until', untilAt)}
          />
        </div>
        <TextField
          label={t('booking.note')}
          hint={t('booking.noteHint')}
          maxLength={200}
          value={note}
          onChange={(event) => setNote(event.target.value)}
          error={error?.field === 'note' ? error.message : undefined}
        />
      </form>
    </Dialog>
  )
}

/** One booking, and the way to take it back. */
export function BookingDialog({
  booking,
  device,
  onClose,
}: {
  readonly booking: Booking
  readonly device: string
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const locale = useLocale()
  const { mutate, isPending } = useOperation('bookingDelete', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('booking.takenBack', { device }) })
      onClose()
    },
    onError: (cause) => toastError(cause, t('booking.failed')),
  })
  return (
    <Dialog
      title={t('booking.details', { device })}
      closeLabel={t('close')}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t('close')}</Button>
          <Button
            variant="danger"
            pending={isPending}
            disabledReason={booking.mine ? null : t('booking.notMine')}
            onClick={() => mutate({ input: { params: { id: booking.id } } })}
          >
            {t('booking.back')}
          </Button>
        </>
      }
    >
      <Facts
        facts={[
          { label: t('booking.by'), value: booking.owner.name },
          { label: t('booking.from'), value: formatAbsolute(booking.from, locale) },
          { label: t('booking.until'), value: formatAbsolute(booking.until, locale) },
          ...(booking.note === '' ? [] : [{ label: t('booking.note'), value: booking.note }]),
        ]}
      />
    </Dialog>
  )
}
