/**
 * Events as one caller may see them. The hub carries every VM as an administrator sees it; here foreign objects are
 * dropped, and what differs by role (actions) or by what may be named (users of an image) is replaced.
 */
import { may, PRIVILEGES, privilegesOn } from '#lib/auth/privileges.ts'
import type { DeckEvent } from '#lib/schema/event.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { Access } from '#server/access/access.ts'
import type { EventHub, HubEvent } from '#server/events/hub.ts'
import { actionsFor, canSeeVm, EVERYTHING, viewpointOf } from './access.ts'
import type { Caller, EventEngine } from './types.ts'

type Sent = { readonly event: DeckEvent; readonly text: string }

export interface EventStreamDeps {
  readonly hub: EventHub
  /** The image as this caller sees it; null when it has gone. */
  readonly imageFor: (caller: Caller, id: string) => Image | null
  readonly access: Access
  readonly vms: {
    all(): readonly { readonly id: string; readonly ownerId: string }[]
    /** Null: there is no such VM. */
    ownerOf(id: string): string | null
  }
  /** A reader of live numbers came or went. */
  readonly onReaders: (count: number) => void
}

export function createEventEngine({ hub, imageFor, onReaders, access, vms }: EventStreamDeps): EventEngine {
  /** Everybody who may do the same gets the same replacement: made once per event. */
  const replaced = new WeakMap<DeckEvent, Map<string, Sent>>()
  let readers = 0
  /** Events before this number went to readers whose reach has changed since. */
  let reachChangedAt = -1
  const changes = new Set<() => void>()
  access.onChange(() => {
    reachChangedAt = hub.seq
    for (const change of changes) change()
  })

  const withObject = (event: DeckEvent, object: unknown): Sent => {
    // The object is one of our own views, which are JSON by construction.
    const changed = { ...event, object } as DeckEvent
    return { event: changed, text: JSON.stringify(changed) }
  }
  const vmEvent = (caller: Caller, { event, text, ownerId }: HubEvent): Sent | null => {
    const { id } = event
    // Nobody's: as it was when it went.
    const privileges =
      ownerId === null ? EVERYTHING.privileges : privilegesOn(caller, { ownerId, ...(id !== null && { id }) })
    if (privileges.size === 0 || !may(caller, 'vm.view')) return null
    if (event.object === undefined) return { event, text }
    const { key } = viewpointOf(privileges)
    if (key === EVERYTHING.key) return { event, text }
    let byKey = replaced.get(event)
    if (byKey === undefined) {
      byKey = new Map()
      replaced.set(event, byKey)
    }
    let sent = byKey.get(key)
    if (sent === undefined) {
      const vm = event.object as unknown as Vm
      sent = withObject(event, {
        ...vm,
        actions: actionsFor({ privileges }, vm),
        privileges: PRIVILEGES.filter((verb) => privileges.has(verb)),
      })
      byKey.set(key, sent)
    }
    return sent
  }
  const reachesAbout = (caller: Caller, { about, ownerId }: HubEvent): boolean =>
    ownerId === null || privilegesOn(caller, { ...about, ownerId }).size > 0

  const seenBy = (caller: Caller, entry: HubEvent): Sent | null => {
    const { event, text, ownerId } = entry
    const asIs = { event, text }
    switch (event.topic) {
      case null:
        return asIs
      case 'pool':
        return may(caller, 'pool.view') ? asIs : null
      case 'host':
        return may(caller, 'host.view') ? asIs : null
      case 'vm':
        return vmEvent(caller, entry)
      case 'image': {
        if (!may(caller, 'image.view')) return null
        if (event.id === null || event.object === undefined || caller.role === 'admin') return asIs
        const image = imageFor(caller, event.id)
        return image === null ? null : withObject(event, image)
      }
      case 'snapshot':
        // Carries the VM's id alone.
        return ownerId === null || canSeeVm(caller, { ownerId, ...(event.id !== null && { id: event.id }) })
          ? asIs
          : null
      case 'backup':
        return reachesAbout(caller, entry) ? asIs : null
      case 'volume':
        return may(caller, 'volume.view') && reachesAbout(caller, entry) ? asIs : null
      case 'job':
        return caller.role === 'admin' || (ownerId === caller.userId && reachesTarget(caller, entry)) ? asIs : null
      case 'lab':
        if (!may(caller, 'vm.view')) return null
        return ownerId === null || canSeeVm(caller, { ownerId, ...(event.id !== null && { id: event.id }) })
          ? asIs
          : null
      case 'user':
        return may(caller, 'user.manage') ? asIs : null
      case 'activity':
        if (may(caller, 'activity.view.all')) return asIs
        return (entry.about === null ? ownerId === caller.userId : reachesAbout(caller, entry)) ? asIs : null
    }
  }
  const reachesTarget = (caller: Caller, { about }: HubEvent): boolean =>
    about === null ||
    vms.ownerOf(about.id) === null ||
    canSeeVm(caller, { id: about.id, ownerId: vms.ownerOf(about.id) ?? '' })

  return {
    epoch: hub.epoch,
    subscribe(caller, since, listener) {
      const deliver = (entry: HubEvent): void => {
        const seen = seenBy(caller, entry)
        if (seen !== null) listener(seen.event, seen.text)
      }
      deliver(hub.marker('hello'))
      if (since !== null) {
        // What came into reach meanwhile has no event of its own, and what went out of it neither.
        const missed = since.seq <= reachChangedAt ? null : hub.replay(since)
        if (missed === null) deliver(hub.marker('reset'))
        else for (const entry of missed) deliver(entry)
      }
      const unsubscribe = hub.subscribe(deliver)
      /** VMs in reach with what may be done to them, and whether anything else changed for this reader. */
      const reach = () => ({
        vms: new Map(
          vms.all().flatMap(({ id, ownerId }) => {
            const { key } = viewpointOf(privilegesOn(caller, { id, ownerId }))
            return key === '' ? [] : [[id, key] as const]
          }),
        ),
        rest: access.fingerprint(caller.userId),
      })
      let reached = reach()
      const onReach = () => {
        const before = reached
        reached = reach()
        for (const id of before.vms.keys())
          if (!reached.vms.has(id)) {
            const { event } = hub.marker('reset')
            const gone: DeckEvent = { ...event, kind: 'gone', topic: 'vm', id }
            listener(gone, JSON.stringify(gone))
          }
        const isSame =
          before.rest === reached.rest &&
          before.vms.size === reached.vms.size &&
          [...reached.vms].every(([id, key]) => before.vms.get(id) === key)
        // Whatever hangs on it (disks, images, snapshots, jobs) is fetched again.
        if (!isSame) deliver(hub.marker('reset'))
      }
      changes.add(onReach)
      readers += 1
      onReaders(readers)
      let subscribed = true
      return () => {
        if (!subscribed) return
        subscribed = false
        unsubscribe()
        changes.delete(onReach)
        readers -= 1
        onReaders(readers)
      }
    },
  }
}
