/**
 * Who has which device of the host when. A device goes by several names (a USB port, what is plugged in there, the
 * IOMMU group of a PCI device); two bookings are in each other's way where any of them is the same.
 */
import { randomUUIDv7 } from 'node:crypto'
import { may } from '#lib/auth/privileges.ts'
import { covers, meetsAny, overlaps } from '#lib/lab/bookings.ts'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { BookableDevice, Booking, BookingInput, BookingList } from '#lib/schema/lab.ts'
import type { BookingDocument, BookingRecords } from '#server/lab/bookings.ts'
import type { LabPolicies } from '#server/lab/policy.ts'
import { inWords, type LabTime } from '#server/lab/time.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller } from './types.ts'
import type { VmRecords } from './vm-records.ts'

const DAY_MS = 24 * 3_600_000
const AHEAD_DAYS = 366
const MAX_OWN = 100
const MAX_ALL = 5000
const SHORTEST_MS = 15 * 60_000
/** Bookings that ended so long ago are dropped. */
const KEEP_MS = 90 * DAY_MS

type Present = Pick<HostDevices, 'pci' | 'usb' | 'mdev'>

export interface BookingDeps {
  readonly bookings: BookingRecords
  readonly policies: LabPolicies
  readonly records: VmRecords
  readonly supervisor: Pick<Supervisor, 'runtime'>
  readonly journal: Journal
  readonly time: LabTime
  readonly hostDevices: () => Promise<Present>
  readonly userName: (id: string) => string
  readonly onChange: () => void
  readonly warn: (message: string, error?: unknown) => void
}

export interface Bookings {
  list(caller: Caller, query: { from?: string | undefined; until?: string | undefined }): Promise<BookingList>
  create(caller: Caller, input: BookingInput): Promise<Booking>
  remove(caller: Caller, id: string): void
  /**
   * @param isNew which of them are asked for; left out: all. The rest the guest has already
   * @throws EngineError conflict: somebody else has booked one of its devices
   */
  assertMayUse(ownerId: string, devices: readonly BookableDevice[], isNew?: (index: number) => boolean): void
  tick(): Promise<void>
}

/** All names of a device, as far as the host tells. */
export function namesOf(device: BookableDevice, host: Present | null): ReadonlySet<string> {
  switch (device.type) {
    case 'pci': {
      const group = host?.pci.find(({ address }) => address === device.address)?.iommuGroup ?? null
      return new Set([`pci ${device.address}`, ...(group === null ? [] : [`iommu ${group}`])])
    }
    case 'mdev':
      return new Set([`mdev ${device.uuid}`])
    case 'usb-id': {
      const there = host?.usb.filter((one) => one.vendorId === device.vendor && one.productId === device.product) ?? []
      return new Set([
        `usb ${device.vendor}:${device.product}`,
        ...there.map(({ bus, port }) => `usb port ${bus}-${port}`),
      ])
    }
    case 'usb-port': {
      const there = host?.usb.filter((one) => one.bus === device.hostBus && one.port === device.hostPort) ?? []
      return new Set([
        `usb port ${device.hostBus}-${device.hostPort}`,
        ...there.map(({ vendorId, productId }) => `usb ${vendorId}:${productId}`),
      ])
    }
  }
}

const isPresent = (device: BookableDevice, { pci, usb, mdev }: Present): boolean => {
  switch (device.type) {
    case 'pci':
      return pci.some(({ address }) => address === device.address)
    case 'mdev':
      return mdev.instances.some(({ uuid }) => uuid === device.uuid)
    case 'usb-id':
      return usb.some(({ vendorId, productId }) => vendorId === device.vendor && productId === device.product)
    case 'usb-port':
      return usb.some(({ bus, port }) => bus === device.hostBus && port === device.hostPort)
  }
}

const spanOf = ({ from, until }: { from: string; until: string }) => ({
  fromMs: Date.parse(from),
  untilMs: Date.parse(until),
})

export function createBookings(deps: BookingDeps): Bookings {
  const { bookings, policies, records, supervisor, journal, time } = deps
  /** As last seen: a start must not wait for the host's devices to be listed. */
  let host: Present | null = null
  const lookAtHost = async (): Promise<void> => {
    try {
      host = await deps.hostDevices()
    } catch (error) {
      deps.warn('The devices of the host could not be listed; bookings go by their own names alone.', error)
    }
  }
  const nameOf = (device: BookableDevice): string => {
    const names = namesOf(device, host)
    const known = policies.read().policy.devices.find((one) => meetsAny(namesOf(one.device, host), names))
    return known?.name ?? [...names][0] ?? 'this device'
  }
  const presentAt = (atMs: number, device: BookableDevice): BookingDocument | undefined => {
    const names = namesOf(device, host)
    return bookings.all().find((one) => covers(spanOf(one), atMs) && meetsAny(namesOf(one.device, host), names))
  }
  const view = (caller: Caller, { id, device, from, until, note, ownerId }: BookingDocument): Booking => ({
    // Ids come from the store, whose documents were parsed when they were written.
    id: id as Booking['id'],
    ...{ device, from, until, note },
    owner: { id: ownerId as Booking['owner']['id'], name: deps.userName(ownerId) },
    mine: may(caller, 'device.book') && (ownerId === caller.userId || may(caller, 'lab.manage')),
  })
  /** Who uses it now although somebody else has booked it. */
  const troubleOf = (device: BookableDevice): string | null => {
    const booking = presentAt(time.wallMs(), device)
    if (booking === undefined) return null
    const names = namesOf(device, host)
    const holder = records.all().find(({ id, ownerId }) => {
      const { launchedSpec } = supervisor.runtime(id)
      return (
        ownerId !== booking.ownerId &&
        launchedSpec?.hostDevices.some((one) => meetsAny(namesOf(one, host), names)) === true
      )
    })
    return holder === undefined
      ? null
      : `${deps.userName(booking.ownerId)} has booked it, and a VM of ${deps.userName(holder.ownerId)} runs with it.`
  }

  return {
    async list(caller, { from, until }) {
      await lookAtHost()
      const fromMs = from === undefined ? time.wallMs() - DAY_MS : Date.parse(from)
      const span = { fromMs, untilMs: until === undefined ? fromMs + AHEAD_DAYS * DAY_MS : Date.parse(until) }
      const seen = host
      return {
        devices: policies.read().policy.devices.map(({ device, name }) => ({
          ...{ device, name },
          present: seen === null ? null : isPresent(device, seen),
          trouble: troubleOf(device),
        })),
        items: bookings
          .all()
          .filter((one) => overlaps(spanOf(one), span))
          .map((one) => view(caller, one)),
      }
    },
    async create(caller, { device, from, until, note }) {
      if (!may(caller, 'device.book')) throw new EngineError('forbidden', 'You may look but not book.')
      await lookAtHost()
      const refuse = (field: string, message: string): never => {
        throw new EngineError('bad_input', message, { field })
      }
      const names = namesOf(device, host)
      const isListed = policies.read().policy.devices.some((one) => meetsAny(namesOf(one.device, host), names))
      if (!isListed) refuse('device', 'This device is not among those that can be booked; an administrator adds it.')
      const span = spanOf({ from, until })
      const now = time.wallMs()
      const { bookingMaxDays } = policies.read().policy
      if (span.untilMs - span.fromMs < SHORTEST_MS)
        refuse('until', 'The end must be 15 minutes after the beginning at least.')
      if (span.untilMs <= now) refuse('until', 'This time has passed.')
      if (span.untilMs - span.fromMs > bookingMaxDays * DAY_MS && !may(caller, 'lab.manage'))
        refuse('until', `A booking may last ${bookingMaxDays} days at most; an administrator may book longer.`)
      if (span.fromMs > now + AHEAD_DAYS * DAY_MS || span.untilMs > now + 2 * AHEAD_DAYS * DAY_MS)
        refuse('from', 'This is too far ahead: a year at most.')
      // From here on nothing waits, so two who ask at once cannot both get it.
      const all = bookings.all().filter((one) => spanOf(one).untilMs > now)
      const other = all.find((one) => overlaps(spanOf(one), span) && meetsAny(namesOf(one.device, host), names))
      if (other !== undefined) {
        const who = other.ownerId === caller.userId ? 'You have' : `${deps.userName(other.ownerId)} has`
        throw new EngineError(
          'conflict',
          `${who} booked “${nameOf(device)}” from ${inWords(other.from)} until ${inWords(other.until)}. Choose another time.`,
          { field: 'from', details: { by: deps.userName(other.ownerId), from: other.from, until: other.until } },
        )
      }
      if (all.filter(({ ownerId }) => ownerId === caller.userId).length >= MAX_OWN)
        throw new EngineError('conflict', `You have ${MAX_OWN} bookings ahead of you; take some back first.`)
      if (bookings.all().length >= MAX_ALL)
        throw new EngineError('conflict', 'This host has as many bookings as it takes.')
      const document: BookingDocument = {
        v: 1,
        id: randomUUIDv7(),
        device,
        from: new Date(span.fromMs).toISOString(),
        until: new Date(span.untilMs).toISOString(),
        note,
        ownerId: caller.userId,
      }
      bookings.add(document)
      journal.write({
        what: 'bookingCreate',
        text: `${caller.name} booked “${nameOf(device)}” from ${inWords(document.from)} until ${inWords(document.until)}.`,
        result: 'ok',
        caller,
      })
      deps.onChange()
      return view(caller, document)
    },
    remove(caller, id) {
      const document = bookings.get(id)
      if (document === null) throw new EngineError('not_found', 'There is no such booking.')
      if (!view(caller, document).mine)
        throw new EngineError('forbidden', 'This booking is somebody else’s; ask them, or an administrator.')
      bookings.remove(id)
      journal.write({
        what: 'bookingDelete',
        text: `${caller.name} took back the booking of “${nameOf(document.device)}” by ${deps.userName(document.ownerId)} from ${inWords(document.from)} until ${inWords(document.until)}.`,
        result: 'ok',
        caller,
      })
      deps.onChange()
    },
    assertMayUse(ownerId, devices, isNew) {
      for (const [index, device] of devices.entries()) {
        if (isNew?.(index) === false) continue
        const booking = presentAt(time.wallMs(), device)
        if (booking === undefined || booking.ownerId === ownerId) continue
        const by = deps.userName(booking.ownerId)
        throw new EngineError(
          'conflict',
          `${by} has booked “${nameOf(device)}” until ${inWords(booking.until)}. ${isNew === undefined ? 'Start it after that, or take the device out.' : 'Give it to the guest after that, or at its next start.'}`,
          { field: `hostDevices.${index}`, details: { by, until: booking.until } },
        )
      }
    },
    async tick() {
      if (bookings.all().length === 0) return
      await lookAtHost()
      const oldest = time.wallMs() - KEEP_MS
      for (const { id, until } of [...bookings.all()]) if (Date.parse(until) < oldest) bookings.remove(id)
    },
  }
}
