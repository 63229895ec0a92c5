/** Who is at a console, and guest links. */
import type { IncomingMessage } from 'node:http'
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names =
  | 'vmViewerList'
  | 'vmViewerEnd'
  | 'vmViewerControl'
  | 'vmControlRelease'
  | 'guestLinkList'
  | 'guestLinkCreate'
  | 'guestLinkRevoke'
  | 'guestTicketCreate'

/** @param addressOf where a request comes from */
export function consoleRoutes(
  { viewers, guestLinks }: Engine,
  addressOf: (request: IncomingMessage) => string,
): Pick<Handlers, Names> {
  return {
    vmViewerList: ({ caller, params }) => viewers.list(caller, params.id),
    vmViewerEnd: ({ caller, params, body }) => viewers.end(caller, params.id, params.viewer, body),
    vmViewerControl: ({ caller, params }) => viewers.giveControl(caller, params.id, params.viewer),
    vmControlRelease: ({ caller, params, body }) => viewers.releaseControl(caller, params.id, body),
    guestLinkList: ({ caller, params }) => guestLinks.list(caller, params.id),
    guestLinkCreate: ({ caller, params, body }) => guestLinks.create(caller, params.id, body),
    guestLinkRevoke: ({ caller, params }) => guestLinks.revoke(caller, params.id, params.link),
    guestTicketCreate: ({ body, request }) => guestLinks.ticket(addressOf(request.raw), body),
  }
}
