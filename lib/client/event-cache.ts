/** Puts what the event stream says into the query cache. No sockets here: `events.ts` owns the connection. */
import type { QueryClient } from '@tanstack/react-query'
import type { DeckEvent } from '#lib/schema/event.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { recordLoad } from './load-history.ts'

interface Items<T> {
  items: T[]
}
interface Identified {
  readonly id: string
}

/** Replaces the item of the same id in place, or adds it: at the front for things shown newest first. */
export function upsert<T extends Identified>(list: Items<T>, item: T, where: 'front' | 'back'): Items<T> {
  const index = list.items.findIndex((known) => known.id === item.id)
  if (index < 0) return { items: where === 'front' ? [item, ...list.items] : [...list.items, item] }
  const items = list.items.slice()
  items[index] = item
  return { items }
}

export function without<T extends Identified>(list: Items<T>, id: string): Items<T> {
  const items = list.items.filter((item) => item.id !== id)
  return items.length === list.items.length ? list : { items }
}

/** Operations whose answers a topic's events make stale, beyond what is written into the cache directly. */
const STALE: Record<NonNullable<DeckEvent['topic']>, readonly string[]> = {
  vm: [],
  image: ['starterList', 'catalogueList', 'imageSources'],
  // Whether disks are there, and what they take, goes with their pool.
  pool: ['poolList', 'storageNeedList', 'volumeList'],
  volume: ['volumeList', 'volumeView', 'poolList', 'storageNeedList'],
  job: [],
  backup: ['backupList', 'backupScheduleList', 'backupScheduleForecast'],
  host: ['hostView'],
  activity: [
    ...['activityList', 'vmActivity', 'vmSeedView', 'guestLinkList', 'recordingList'],
    // Each change of these is a line, and reaches whoever may read it.
    ...['vmAccessView', 'imageAccessView', 'volumeAccessView', 'groupList', 'roleList'],
  ],
  user: ['userList', 'sessionView'],
  lab: ['labPolicyView', 'leaseList', 'vmLeaseView', 'powerScheduleList', 'bookingList', 'scheduleList'],
  snapshot: ['snapshotList', 'snapshotScheduleList', 'scheduleList'],
}

const LISTS = {
  vm: ['vmList', 'vmView', 'back'],
  image: ['imageList', 'imageView', 'back'],
  job: ['jobList', 'jobView', 'front'],
} as const

function put<T extends Identified>(client: QueryClient, topic: keyof typeof LISTS, object: T): void {
  const [list, view, where] = LISTS[topic]
  client.setQueryData<T>([view, { params: { id: object.id } }], object)
  const key = [list, {}]
  client.setQueryData<Items<T>>(key, (known) => known && upsert(known, object, where))
  // An answer already on its way was written before this event: whatever it brings, the event is newer.
  const running = client.getQueryCache().find({ queryKey: key, exact: true })
  if (running?.state.fetchStatus === 'fetching')
    void Promise.resolve(running.promise)
      .catch(() => undefined)
      .then(() => client.setQueryData<Items<T>>(key, (known) => known && upsert(known, object, where)))
}

/** Applies one event. `reset` makes everything stale; `hello` changes nothing. */
export function applyEvent(client: QueryClient, event: DeckEvent): void {
  const { kind, topic, id, object } = event
  if (kind === 'hello') return
  if (kind === 'reset') {
    void client.invalidateQueries()
    return
  }
  if (topic === null) return
  if (topic === 'vm' || topic === 'image' || topic === 'job') {
    if (kind === 'gone' && id !== null) {
      const [list, view] = LISTS[topic]
      client.setQueryData<Items<Identified>>([list, {}], (known) => known && without(known, id))
      // Kept mounted pages learn it by asking: the answer is 404.
      void client.invalidateQueries({ queryKey: [view, { params: { id } }] })
    } else if (object !== undefined && object !== null) {
      // The server validated it against the same contract before sending.
      const typed = object as unknown as Vm | Image | Job
      put(client, topic, typed)
      if (topic === 'vm') recordLoad(typed as Vm, event.at)
    } else {
      void client.invalidateQueries({ queryKey: [LISTS[topic][0]] })
      if (id !== null) void client.invalidateQueries({ queryKey: [LISTS[topic][1], { params: { id } }] })
    }
  }
  for (const operation of STALE[topic]) void client.invalidateQueries({ queryKey: [operation] })
}
