/** Host, capabilities, jobs and the activity log. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names =
  | 'hostView'
  | 'hostDeviceList'
  | 'capabilitiesView'
  | 'deviceTypeView'
  | 'jobList'
  | 'jobView'
  | 'jobCancel'
  | 'activityList'

export function hostRoutes(engine: Engine): Pick<Handlers, Names> {
  return {
    hostView: ({ caller, query }) => engine.host.view(caller, { refresh: query.refresh === 'true' }),
    hostDeviceList: ({ caller }) => engine.host.devices(caller),
    deviceTypeView: ({ caller, params }) => engine.host.deviceType(caller, params.type),
    capabilitiesView: ({ caller }) => engine.host.capabilities(caller),
    jobList: ({ caller }) => engine.jobs.list(caller),
    jobView: ({ caller, params }) => engine.jobs.view(caller, params.id),
    jobCancel: ({ caller, params }) => engine.jobs.cancel(caller, params.id),
    activityList: ({ caller, query }) => engine.activity(caller, query),
  }
}
