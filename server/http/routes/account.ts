/** The own account: second factors, passkeys, sessions. */
import type { Auth } from '#server/auth/auth.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import type { Call, Handlers } from '#server/http/contract-routes.ts'
import {
  type CredentialPolicy,
  deviceOf,
  pageOrigin,
  requirePageOrigin,
  sessionCookie,
} from '#server/http/credentials.ts'

type Names =
  | 'accountView'
  | 'sessionList'
  | 'sessionRevoke'
  | 'sessionRevokeAll'
  | 'totpBegin'
  | 'totpConfirm'
  | 'totpDelete'
  | 'recoveryCreate'
  | 'passkeyBegin'
  | 'passkeyCreate'
  | 'passkeyDelete'

export function accountRoutes(engine: Engine, auth: Auth, policy: CredentialPolicy): Pick<Handlers, Names> {
  const { account } = auth
  const record = (what: string, text: string, caller: Caller) => engine.record({ what, text, result: 'ok', caller })

  /** Who had to set up a second factor has done so: the session becomes a full one, under another secret. */
  const enrolled = ({ caller, request, reply }: Pick<Call<'totpConfirm'>, 'caller' | 'request' | 'reply'>) => {
    const secret = account.enrolled(caller, deviceOf(request.raw))
    if (secret !== null) reply.header('set-cookie', sessionCookie(request.raw, policy, secret))
  }

  return {
    accountView: ({ caller, request }) => account.view(caller, pageOrigin(request.raw, policy)),
    sessionList: ({ caller }) => ({ items: account.sessions(caller) }),
    sessionRevoke({ caller, params }) {
      account.endSession(caller, params.id)
      record('sessionRevoke', `${caller.name} ended one of their sessions.`, caller)
    },
    sessionRevokeAll({ caller, body }) {
      account.endSessions(caller, body.keepThis)
      record('sessionRevokeAll', `${caller.name} signed out everywhere${body.keepThis ? ' else' : ''}.`, caller)
    },
    totpBegin: ({ caller }) => account.totpBegin(caller),
    totpConfirm(call) {
      const recoveryCodes = account.totpConfirm(call.caller, call.body.code)
      record('totpConfirm', `${call.caller.name} set up an app for codes.`, call.caller)
      enrolled(call)
      return { recoveryCodes }
    },
    totpDelete({ caller }) {
      account.totpDelete(caller)
      record('totpDelete', `${caller.name} took away their app for codes.`, caller)
    },
    recoveryCreate({ caller }) {
      const recoveryCodes = account.recoveryCreate(caller)
      record('recoveryCreate', `${caller.name} made new recovery codes.`, caller)
      return { recoveryCodes }
    },
    passkeyBegin: ({ caller, request }) => account.passkeyBegin(caller, requirePageOrigin(request.raw, policy)),
    async passkeyCreate(call) {
      const { caller, body, request } = call
      const made = await account.passkeyCreate(caller, requirePageOrigin(request.raw, policy), body)
      record('passkeyCreate', `${caller.name} made the passkey "${body.label}".`, caller)
      enrolled(call)
      return made
    },
    passkeyDelete({ caller, params }) {
      account.passkeyDelete(caller, params.id)
      record('passkeyDelete', `${caller.name} took away a passkey.`, caller)
    },
  }
}
