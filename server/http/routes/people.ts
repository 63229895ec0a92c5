/** People and API tokens. */
import type { Auth } from '#server/auth/auth.ts'
import { tokenView, userView } from '#server/auth/documents.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

type Names =
  | 'tokenList'
  | 'tokenCreate'
  | 'tokenDelete'
  | 'userList'
  | 'userCreate'
  | 'userUpdate'
  | 'userDelete'
  | 'userLogins'
  | 'userSignOut'
  | 'userFactorsReset'
  | 'userTokenList'
  | 'userTokenDelete'

export function peopleRoutes(engine: Engine, auth: Auth): Pick<Handlers, Names> {
  const record = (what: string, text: string, caller: Caller) => engine.record({ what, text, result: 'ok', caller })
  return {
    tokenList: ({ caller }) => ({ items: auth.account.tokens(caller) }),
    tokenCreate({ caller, body }) {
      const created = auth.account.tokenCreate(caller, body)
      const { label, scope } = created.entry
      const reach = scope === null ? '' : ` for ${scope.privileges.join(', ')}${scope.vmIds ? ' of some VMs' : ''}`
      record('tokenCreate', `Created the API token "${label}"${reach}.`, caller)
      return created
    },
    tokenDelete({ caller, params }) {
      const gone = auth.tokenDelete(params.id, caller.userId)
      record('tokenDelete', `Revoked the API token "${gone.label}".`, caller)
    },
    userList: () => ({ items: auth.people() }),
    userLogins({ caller, params, body }) {
      const user = auth.setLogins(params.id, body.logins)
      const accounts = body.logins.map(({ realm, subject }) => `${realm} ${subject}`).join(', ') || 'none'
      record('userLogins', `Accounts elsewhere that sign in as ${user.name}: ${accounts}.`, caller)
      return userView(user)
    },
    userSignOut({ caller, params }) {
      const user = auth.endSessions(params.id)
      record('userSignOut', `Ended the sessions of ${user.name}.`, caller)
    },
    userFactorsReset({ caller, params }) {
      const user = auth.resetFactors(params.id)
      record('userFactorsReset', `Took away the second factors of ${user.name}.`, caller)
    },
    userTokenList({ params }) {
      if (auth.users.get(params.id) === null) throw new EngineError('not_found', 'There is no such person.')
      return { items: auth.tokens.list(params.id).map(tokenView) }
    },
    userTokenDelete({ caller, params }) {
      const gone = auth.tokenDelete(params.token, params.id)
      const name = auth.users.get(params.id)?.name ?? 'somebody'
      record('userTokenDelete', `Revoked the API token "${gone.label}" of ${name}.`, caller)
    },
    async userCreate({ caller, body }) {
      const user = await auth.users.create(body)
      record('userCreate', `Added ${user.name} as ${user.role}.`, caller)
      return userView(user)
    },
    async userUpdate({ caller, params, body }) {
      const user = await auth.updateUser(params.id, body)
      const what = [
        body.role !== undefined && `role ${user.role}`,
        body.customRole !== undefined && (body.customRole === null ? 'no custom role' : 'a custom role'),
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
