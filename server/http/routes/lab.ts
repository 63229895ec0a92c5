/** Life in the lab: each operation is one call of the engine. */
import type { labOperations } from '#lib/api/operations/lab.ts'
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

export function labRoutes({ lab }: Engine): Pick<Handlers, keyof typeof labOperations> {
  return {
    labPolicyView: ({ caller }) => lab.policy(caller),
    labPolicyUpdate: ({ caller, body, expectedRevision }) => lab.updatePolicy(caller, body, expectedRevision),
    leaseList: ({ caller }) => lab.leases(caller),
    vmLeaseView: ({ caller, params }) => lab.lease(caller, params.id),
    vmLeaseExtend: ({ caller, params }) => lab.extend(caller, params.id),
    vmLeaseSet: ({ caller, params, body }) => lab.setLease(caller, params.id, body),
    powerScheduleList: ({ caller, query }) => lab.powerSchedules(caller, query),
    powerScheduleCreate: ({ caller, body }) => lab.createPowerSchedule(caller, body),
    powerScheduleUpdate: ({ caller, params, body, expectedRevision }) =>
      lab.updatePowerSchedule(caller, params.id, body, expectedRevision),
    powerScheduleDelete: ({ caller, params, expectedRevision }) =>
      lab.deletePowerSchedule(caller, params.id, expectedRevision),
    powerScheduleSkip: ({ caller, params, body }) => lab.skipPowerSchedule(caller, params.id, body),
    bookingList: ({ caller, query }) => lab.bookings(caller, query),
    bookingCreate: ({ caller, body }) => lab.book(caller, body),
    bookingDelete: ({ caller, params }) => lab.unbook(caller, params.id),
  }
}
