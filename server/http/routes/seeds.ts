/** Seeds: each operation is one call of the engine. */
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names = 'vmSeedView' | 'vmSeedReplace' | 'vmSeedRemove' | 'seedPasswordHash'

export function seedRoutes({ seeds }: Engine): Pick<Handlers, Names> {
  return {
    vmSeedView: ({ caller, params }) => seeds.view(caller, params.id),
    vmSeedReplace: ({ caller, params, body }) => seeds.replace(caller, params.id, body),
    vmSeedRemove: ({ caller, params }) => seeds.remove(caller, params.id),
    seedPasswordHash: ({ caller, body }) => seeds.hash(caller, body),
  }
}
