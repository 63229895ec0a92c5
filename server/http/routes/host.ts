/** Host, capabilities, jobs and the activity log. */
import type { FastifyReply } from 'fastify'
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
  | 'activityVerify'
  | 'activityExportJson'
  | 'activityExportCsv'

/** Aborted when the answer was sent, or the client has hung up. */
function ended(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => controller.abort())
  return controller.signal
}

async function asFile(reply: FastifyReply, suffix: string, text: Promise<Buffer>): Promise<Buffer> {
  const answer = await text
  reply.header('content-disposition', `attachment; filename="guestdeck-activity.${suffix}"`)
  return answer
}

export function hostRoutes(engine: Engine): Pick<Handlers, Names> {
  return {
    hostView: ({ caller, query }) => engine.host.view(caller, { refresh: query.refresh === 'true' }),
    hostDeviceList: ({ caller }) => engine.host.devices(caller),
    deviceTypeView: ({ caller, params }) => engine.host.deviceType(caller, params.type),
    capabilitiesView: ({ caller }) => engine.host.capabilities(caller),
    jobList: ({ caller }) => engine.jobs.list(caller),
    jobView: ({ caller, params, query, reply }) =>
      query.wait === 0
        ? engine.jobs.view(caller, params.id)
        : engine.jobs.view(caller, params.id, AbortSignal.any([AbortSignal.timeout(query.wait * 1000), ended(reply)])),
    jobCancel: ({ caller, params }) => engine.jobs.cancel(caller, params.id),
    activityList: ({ caller, query }) => engine.activity(caller, query),
    activityVerify: ({ caller }) => engine.verifyActivity(caller),
    activityExportJson: ({ caller, query, reply }) =>
      asFile(reply, 'jsonl', engine.exportActivity(caller, query, 'jsonl')),
    activityExportCsv: ({ caller, query, reply }) => asFile(reply, 'csv', engine.exportActivity(caller, query, 'csv')),
  }
}
