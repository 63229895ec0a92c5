/**
 * Events as one caller may see them. The hub carries every VM as an administrator sees it; here foreign objects are
 * dropped, and what differs by role (actions) or by what may be named (users of an image) is replaced.
 */
import { may } from '#lib/auth/privileges.ts'
import type { DeckEvent } from '#lib/schema/event.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { EventHub, HubEvent } from '#server/events/hub.ts'
import { actionsFor, canSeeVm } from './access.ts'
import type { Caller, EventEngine } from './types.ts'

export interface EventStreamDeps {
  readonly hub: EventHub
  /** The image as this caller sees it; null when it has gone. */
  readonly imageFor: (caller: Caller, id: string) => Image | null
  /** A reader of live numbers came or went. */
  readonly onReaders: (count: number) => void
}

export function createEventEngine({ hub, imageFor, onReaders }: EventStreamDeps): EventEngine {
  /** Every viewer gets the same replacement: made once per event. */
  const forViewers = new WeakMap<DeckEvent, { event: DeckEvent; text: string }>()
  let readers = 0

  const withObject = (event: DeckEvent, object: unknown): { event: DeckEvent; text: string } => {
    // The object is one of our own views, which are JSON by construction.
    const changed = { ...event, object } as DeckEvent
    return { event: changed, text: JSON.stringify(changed) }
  }

  const seenBy = (caller: Caller, { event, text, ownerId }: HubEvent): { event: DeckEvent; text: string } | null => {
    switch (event.topic) {
      case null:
        return { event, text }
      case 'pool':
        return may(caller, 'pool.view') ? { event, text } : null
      case 'host':
        return may(caller, 'host.view') ? { event, text } : null
      case 'vm': {
        if (ownerId !== null && !canSeeVm(caller, { ownerId, ...(event.id !== null && { id: event.id }) })) return null
        if (!may(caller, 'vm.view')) return null
        if ((caller.scope ?? null) !== null && event.object !== undefined) {
          const vm = event.object as unknown as Vm
          return withObject(event, { ...vm, actions: actionsFor(caller, vm.state) })
        }
        if (caller.role !== 'viewer' || event.object === undefined) return { event, text }
        let replaced = forViewers.get(event)
        if (replaced === undefined) {
          const vm = event.object as unknown as Vm
          replaced = withObject(event, { ...vm, actions: actionsFor({ role: 'viewer', via: 'session' }, vm.state) })
          forViewers.set(event, replaced)
        }
        return replaced
      }
      case 'image': {
        if (!may(caller, 'image.view')) return null
        if (event.id === null || event.object === undefined || caller.role !== 'operator') return { event, text }
        const image = imageFor(caller, event.id)
        return image === null ? null : withObject(event, image)
      }
      case 'backup':
      // Carries the VM's id alone.
      case 'snapshot':
        return ownerId === null || canSeeVm(caller, { ownerId }) ? { event, text } : null
      case 'volume':
        if (!may(caller, 'volume.view')) return null
        return ownerId === null || canSeeVm(caller, { ownerId }) ? { event, text } : null
      case 'job':
        return ownerId === caller.userId || caller.role === 'admin' ? { event, text } : null
      case 'lab':
        if (!may(caller, 'vm.view')) return null
        return ownerId === null || canSeeVm(caller, { ownerId, ...(event.id !== null && { id: event.id }) })
          ? { event, text }
          : null
      case 'user':
        return may(caller, 'user.manage') ? { event, text } : null
      case 'activity':
        return may(caller, 'activity.view.all') || ownerId === caller.userId ? { event, text } : null
    }
  }

  return {
    epoch: hub.epoch,
    subscribe(caller, since, listener) {
      const deliver = (entry: HubEvent): void => {
        const seen = seenBy(caller, entry)
        if (seen !== null) listener(seen.event, seen.text)
      }
      deliver(hub.marker('hello'))
      if (since !== null) {
        const missed = hub.replay(since)
        if (missed === null) deliver(hub.marker('reset'))
        else for (const entry of missed) deliver(entry)
      }
      const unsubscribe = hub.subscribe(deliver)
      readers += 1
      onReaders(readers)
      let subscribed = true
      return () => {
        if (!subscribed) return
        subscribed = false
        unsubscribe()
        readers -= 1
        onReaders(readers)
      }
    },
  }
}
