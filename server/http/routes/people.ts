/** People and API tokens. */
import type { Auth } from '#server/auth/auth.ts'
import { userView } from '#server/auth/documents.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names = 'tokenList' | 'tokenCreate' | 'tokenDelete' | 'userList' | 'userCreate' | 'userUpdate' | 'userDelete'

export function peopleRoutes(engine: Engine, auth: Auth): Pick<Handlers, Names> {
  const record = (what: string, text: string, caller: Caller) => engine.record({ what, text, result: 'ok', caller })
  return {
    tokenList: ({ caller }) => ({ items: auth.tokenList(caller) }),
    tokenCreate({ caller, body }) {
      const created = auth.tokenCreate(caller, body)
      record('tokenCreate', `Created the API token "${created.entry.label}".`, caller)
      return created
    },
    tokenDelete({ caller, params }) {
      auth.tokenDelete(caller, params.id)
      record('tokenDelete', 'Revoked an API token.', caller)
    },
    userList: () => ({
      items: auth.users
        .list()
        .map(userView)
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    }),
    async userCreate({ caller, body }) {
      const user = await auth.users.create(body)
      record('userCreate', `Added ${user.name} as ${user.role}.`, caller)
      return userView(user)
    },
    async userUpdate({ caller, params, body }) {
      const user = await auth.updateUser(params.id, body)
      const what = [
        body.role !== undefined && `role ${user.role}`,
        body.password !== undefined && 'new password',
        body.disabled !== undefined && (user.disabled ? 'disabled' : 'enabled'),
      ].filter((part) => part !== false)
      record('userUpdate', `Changed ${user.name}: ${what.length === 0 ? 'nothing' : what.join(', ')}.`, caller)
      return userView(user)
    },
    userDelete({ caller, params }) {
      const user = auth.deleteUser(params.id)
      record('userDelete', `Removed ${user.name}.`, caller)
    },
  }
}
