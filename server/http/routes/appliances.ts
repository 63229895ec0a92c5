/** What came in as an appliance, and files of the host that become library images. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names = 'imageImport' | 'applianceList' | 'applianceView' | 'applianceDelete'

export function applianceRoutes({ appliances }: Engine): Pick<Handlers, Names> {
  return {
    imageImport: ({ caller, body }) => appliances.importFile(caller, body),
    applianceList: ({ caller }) => appliances.list(caller),
    applianceView: ({ caller, params }) => appliances.view(caller, params.id),
    applianceDelete: ({ caller, params }) => appliances.delete(caller, params.id),
  }
}
