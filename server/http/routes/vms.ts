/** VMs: each operation is one call of the engine. */
import type { FastifyReply } from 'fastify'
import type { Engine } from '#server/engine/types.ts'
import { type Handlers, JsonText } from '#server/http/contract-routes.ts'

type Names =
  | 'vmList'
  | 'vmCreate'
  | 'vmPreview'
  | 'vmView'
  | 'vmUpdate'
  | 'vmChangePreview'
  | 'vmDelete'
  | 'vmFirmwareReset'
  | 'vmStart'
  | 'vmShutdown'
  | 'vmRestart'
  | 'vmPoweroff'
  | 'vmReset'
  | 'vmPause'
  | 'vmResume'
  | 'vmCommandLine'
  | 'vmDevices'
  | 'vmScreenshot'
  | 'vmConsoleTicketCreate'
  | 'vmActivity'

/** The tag is what `If-Match` takes; it is no cache validator, because live state changes without the revision. */
async function tagged<T extends { revision: number }>(reply: FastifyReply, answer: Promise<T>): Promise<T> {
  const vm = await answer
  reply.header('etag', `"${vm.revision}"`)
  return vm
}

export function vmRoutes({ vms }: Engine): Pick<Handlers, Names> {
  return {
    vmList: ({ caller }) => (vms.listText ? new JsonText(vms.listText(caller)) : vms.list(caller)),
    vmCreate: ({ caller, body, reply }) => tagged(reply, vms.create(caller, body)),
    vmPreview: ({ caller, body }) => vms.preview(caller, body),
    vmView: ({ caller, params, reply }) => tagged(reply, vms.view(caller, params.id)),
    vmUpdate: ({ caller, params, body, query, expectedRevision, reply }) =>
      tagged(reply, vms.update(caller, params.id, body, expectedRevision, query)),
    vmChangePreview: ({ caller, params, body }) => vms.previewChange(caller, params.id, body),
    vmDelete: ({ caller, params, query, expectedRevision }) =>
      vms.delete(caller, params.id, expectedRevision, query.disks),
    vmFirmwareReset: ({ caller, params, reply }) => tagged(reply, vms.resetFirmware(caller, params.id)),
    vmStart: ({ caller, params, reply }) => tagged(reply, vms.start(caller, params.id)),
    vmShutdown: ({ caller, params, reply }) => tagged(reply, vms.shutdown(caller, params.id)),
    vmRestart: ({ caller, params, reply }) => tagged(reply, vms.restart(caller, params.id)),
    vmPoweroff: ({ caller, params, reply }) => tagged(reply, vms.poweroff(caller, params.id)),
    vmReset: ({ caller, params, reply }) => tagged(reply, vms.reset(caller, params.id)),
    vmPause: ({ caller, params, reply }) => tagged(reply, vms.pause(caller, params.id)),
    vmResume: ({ caller, params, reply }) => tagged(reply, vms.resume(caller, params.id)),
    vmCommandLine: ({ caller, params, query }) => vms.commandLine(caller, params.id, query),
    vmDevices: ({ caller, params }) => vms.devices(caller, params.id),
    vmScreenshot: ({ caller, params, query }) => vms.screenshot(caller, params.id, query),
    vmConsoleTicketCreate: ({ caller, params, body }) => vms.consoleTicket(caller, params.id, body),
    vmActivity: ({ caller, params, query }) => vms.activity(caller, params.id, query),
  }
}
