/**
 * Places for devices that are added to a running machine. It has the sockets it was started with, and a device that the
 * definition no longer names may still sit on one: what gets a place on its own gets one that is really free. Pure.
 */
import type { VmSpec, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { DEVICE_LISTS, occupants, placeKey } from '#lib/vm/live-places.ts'
import type { AnyDevice, DeviceList } from '#lib/vm/live-types.ts'

export interface RunningPlaces {
  /** What runs. */
  readonly spec: VmSpec
  /** Sockets it has. */
  readonly sockets: number
}

/** First and last place to hand out, by kind. */
const RANGES: Readonly<Record<string, readonly [field: 'rootPort' | 'port', from: number, to: number]>> = {
  usb: ['port', 3, 15],
  scsi: ['port', 0, 255],
  'virtio-serial': ['port', 2, 30],
}

/**
 * @param spec complete @param before the definition until now
 * @param patch what was asked: a place that it names stays
 * @returns `spec`, with places of new devices moved to where they can be plugged in, as far as there are any
 */
export function placeForRunning(spec: VmSpec, before: VmSpec, patch: VmSpecPatch, running: RunningPlaces): VmSpec {
  const taken = new Map([...occupants(running.spec), ...occupants(spec)])
  let result = spec
  for (const list of DEVICE_LISTS) {
    const known = new Set<string>(before[list].map((device) => device.id))
    result[list].forEach((device: AnyDevice, index) => {
      const key = placeKey(list, device)
      if (key === null || known.has(device.id) || isGiven(patch, list, index)) return
      const [kind = '', place = '0'] = key.split(':')
      const occupant = occupants(running.spec).get(key)
      const isFree = occupant === undefined || occupant === device.id
      if (isFree && (kind !== 'socket' || Number(place) < running.sockets)) return
      const [field, from, to] =
        kind === 'socket' ? (['rootPort', 0, running.sockets - 1] as const) : (RANGES[kind] ?? ['port', 0, -1])
      for (let n = from; n <= to; n += 1) {
        if (taken.has(`${kind}:${n}`)) continue
        taken.set(`${kind}:${n}`, device.id)
        result = withPlace(result, list, index, field, n)
        return
      }
    })
  }
  return result
}

function isGiven(patch: VmSpecPatch, list: DeviceList, index: number): boolean {
  const given: object = patch[list]?.[index] ?? {}
  return ('rootPort' in given && given.rootPort !== undefined) || ('port' in given && given.port !== undefined)
}

function withPlace(spec: VmSpec, list: DeviceList, index: number, field: 'rootPort' | 'port', place: number): VmSpec {
  const devices = (spec[list] as readonly AnyDevice[]).map((device, at) =>
    at === index ? { ...device, [field]: place } : device,
  )
  return { ...spec, [list]: devices } as VmSpec
}
