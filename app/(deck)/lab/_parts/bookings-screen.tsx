'use client'
import { useQuery } from '@tanstack/react-query'
import { ChevronLeft, ChevronRight, Plus } from 'lucide-react'
import { usePathname, useRouter, useSearchParams } from 'next/navigation'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { useNow } from '#lib/client/use-now.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { overlaps, weekOf } from '#lib/lab/bookings.ts'
import { dateField, timeField } from '#lib/lab/local-time.ts'
import type { BookableView, Booking } from '#lib/schema/lab.ts'
import { BookDialog, BookingDialog } from './booking-dialogs.tsx'
import { keyOf } from './device-name.ts'
import { LabFrame } from './lab-frame.tsx'

/** The week is in the URL; without it, the present one. */
function useWeek(now: number) {
  const search = useSearchParams()
  const router = useRouter()
  const here = usePathname()
  const asked = new Date(`${search.get('week') ?? ''}T12:00`)
  const days = weekOf(Number.isNaN(asked.getTime()) ? new Date(now) : asked)
  const go = (by: number) => {
    const monday = days[0]
    if (by === 0 || monday === undefined) router.replace(here, { scroll: false })
    else {
      const other = new Date(monday.getFullYear(), monday.getMonth(), monday.getDate() + 7 * by)
      router.replace(`${here}?week=${dateField(other)}`, { scroll: false })
    }
  }
  return { days, go }
}

/** Devices of the host by the days of a week; on a phone, the bookings of the week as a list. */
export function BookingsScreen() {
  const t = useT(messages)
  const now = useNow()
  return (
    <LabFrame intro={t('booking.intro')}>
      {now === 0 ? <Skeleton className="h-64 w-full" /> : <Week now={now} />}
    </LabFrame>
  )
}

function Week({ now }: { readonly now: number }) {
  const t = useT(messages)
  const locale = useLocale()
  const may = useCan('device.book')
  const { days, go } = useWeek(now)
  const [first, end] = [days[0] ?? new Date(now), days[7] ?? new Date(now)]
  const { data, error, refetch } = useQuery(queries.bookings(first.toISOString(), end.toISOString()))
  const [booking, setBooking] = useState<{ readonly key: string; readonly day: Date } | null>(null)
  const [shown, setShown] = useState<Booking | null>(null)
  const devices = data?.devices ?? []
  const inWeek = (data?.items ?? []).filter((one) => isIn(one, first, end))
  const nameOf = (one: Booking) =>
    devices.find((each) => keyOf(each.device) === keyOf(one.device))?.name ?? keyOf(one.device)
  const dayName = (day: Date) => day.toLocaleDateString(locale, { weekday: 'short', day: 'numeric', month: 'short' })
  const mayNot = may ? null : t('notAllowed')
  return (
    <Section
      title={t('booking.week', { date: first.toLocaleDateString(locale, { dateStyle: 'medium' }) })}
      actions={
        <>
          <IconButton label={t('booking.previous')} onClick={() => go(-1)}>
            <ChevronLeft size={16} aria-hidden="true" />
          </IconButton>
          <Button size="sm" onClick={() => go(0)}>
            {t('booking.today')}
          </Button>
          <IconButton label={t('booking.nextWeek')} onClick={() => go(1)}>
            <ChevronRight size={16} aria-hidden="true" />
          </IconButton>
          {devices.length > 0 && (
            <Button
              variant="primary"
              disabledReason={mayNot}
              onClick={() => setBooking({ key: devices[0] ? keyOf(devices[0].device) : '', day: new Date(now) })}
            >
              {t('booking.book')}
            </Button>
          )}
        </>
      }
    >
      {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
      {data === undefined && !error && <Skeleton className="h-64 w-full" />}
      {data !== undefined && devices.length === 0 && (
        <EmptyState title={t('booking.none')}>{t('booking.noneBody')}</EmptyState>
      )}
      {devices.length > 0 && (
        <>
          <section
            aria-label={t('booking.title')}
            className="overflow-x-auto max-md:hidden"
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
            tabIndex={0}
          >
            <table className="w-full min-w-[56rem] table-fixed border-collapse text-sm">
              <thead className="text-faint">
                <tr>
                  <th scope="col" className="w-40 border-line border-b py-1.5 text-start font-medium">
                    {t('booking.device')}
                  </th>
                  {days.slice(0, 7).map((day) => (
                    <th
                      key={day.getTime()}
                      scope="col"
                      aria-current={dateField(day) === dateField(new Date(now)) ? 'date' : undefined}
                      className="border-line border-b px-2 py-1.5 text-start font-medium aria-[current]:text-accent"
                    >
                      {dayName(day)}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {devices.map((device) => (
                  <tr key={keyOf(device.device)}>
                    <th scope="row" className="border-line border-b py-2 pe-2 text-start align-top font-normal">
                      <DeviceName device={device} />
                    </th>
                    {days.slice(0, 7).map((day, index) => {
                      const next = days[index + 1] ?? end
                      return (
                        <td key={day.getTime()} className="border-line border-b border-s px-2 py-2 align-top">
                          <ul className="flex flex-col gap-1">
                            {inWeek
                              .filter((one) => keyOf(one.device) === keyOf(device.device) && isIn(one, day, next))
                              .map((one) => (
                                <li key={one.id}>
                                  <Entry booking={one} day={day} next={next} onShow={() => setShown(one)} />
                                </li>
                              ))}
                          </ul>
                          {next.getTime() > now && (
                            <IconButton
                              size="sm"
                              label={t('booking.bookOn', { device: device.name, day: dayName(day) })}
                              disabledReason={mayNot}
                              onClick={() => setBooking({ key: keyOf(device.device), day })}
                            >
                              <Plus size={14} aria-hidden="true" />
                            </IconButton>
                          )}
                        </td>
                      )
                    })}
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
          <ul className="flex flex-col md:hidden" aria-label={t('booking.list')}>
            {inWeek.length === 0 && <li className="text-faint">{t('booking.free')}</li>}
            {inWeek.map((one) => (
              <li key={one.id} className="flex flex-wrap items-center gap-2 border-line border-b py-2">
                <div className="min-w-0 flex-1">
                  <p className="font-medium">{nameOf(one)}</p>
                  <p className="text-dim text-sm">
                    {dayName(new Date(one.from))} {timeField(new Date(one.from))} – {dayName(new Date(one.until))}{' '}
                    {timeField(new Date(one.until))}, {one.owner.name}
                  </p>
                </div>
                <Button
                  size="sm"
                  aria-label={t('booking.details', { device: nameOf(one) })}
                  onClick={() => setShown(one)}
                >
                  …
                </Button>
              </li>
            ))}
          </ul>
        </>
      )}
      {booking !== null && (
        <BookDialog devices={devices} chosen={booking.key} day={booking.day} onClose={() => setBooking(null)} />
      )}
      {shown !== null && <BookingDialog booking={shown} device={nameOf(shown)} onClose={() => setShown(null)} />}
    </Section>
  )
}

const isIn = ({ from, until }: Booking, first: Date, end: Date) =>
  overlaps(
    { fromMs: Date.parse(from), untilMs: Date.parse(until) },
    { fromMs: first.getTime(), untilMs: end.getTime() },
  )

function DeviceName({ device }: { readonly device: BookableView }) {
  const t = useT(messages)
  return (
    <>
      <p className="break-words font-medium">{device.name}</p>
      {device.present === false && <p className="text-faint">{t('booking.absent')}</p>}
      {device.trouble !== null && <p className="text-attention">{device.trouble}</p>}
    </>
  )
}

/** The part of a booking that falls on one day. */
function Entry({
  booking,
  day,
  next,
  onShow,
}: {
  readonly booking: Booking
  readonly day: Date
  readonly next: Date
  readonly onShow: () => void
}) {
  const from = new Date(Math.max(Date.parse(booking.from), day.getTime()))
  const until = new Date(booking.until)
  return (
    <button
      type="button"
      className="touch block w-full rounded-sm border border-edge bg-selected px-1.5 py-1 text-start hover:bg-hover"
      onClick={onShow}
    >
      <span className="figures block">
        {timeField(from)}–{until.getTime() >= next.getTime() ? '24:00' : timeField(until)}
      </span>
      <span className={booking.mine ? 'block break-words font-medium' : 'block break-words'}>{booking.owner.name}</span>
    </button>
  )
}
