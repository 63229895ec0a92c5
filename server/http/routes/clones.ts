/** Clones and templates: each operation is one call of the engine. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names = 'vmCloneFacts' | 'vmClone' | 'vmTemplateSet'

export function cloneRoutes({ clones }: Engine): Pick<Handlers, Names> {
  return {
    vmCloneFacts: ({ caller, params }) => clones.facts(caller, params.id),
    vmClone: ({ caller, params, body }) => clones.clone(caller, params.id, body),
    vmTemplateSet: ({ caller, params, body }) => clones.setTemplate(caller, params.id, body),
  }
}
