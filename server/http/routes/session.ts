/** Signing in and out, set-up, and how people may sign in. */
import type { Auth } from '#server/auth/auth.ts'
import { clientAddress } from '#server/auth/client-address.ts'
import type { UserDocument } from '#server/auth/documents.ts'
import type { Challenged, SignedIn } from '#server/auth/sign-in.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import type { Call, Handlers } from '#server/http/contract-routes.ts'
import {
  type CredentialPolicy,
  deviceOf,
  flowCookie,
  flowSecret,
  knownBrowser,
  knownCookie,
  pageOrigin,
  requirePageOrigin,
  sessionCookie,
  sessionSecret,
} from '#server/http/credentials.ts'

type Names =
  | 'sessionView'
  | 'setupCreate'
  | 'signInWays'
  | 'sessionCreate'
  | 'secondFactorCreate'
  | 'passkeyOptions'
  | 'passkeySession'
  | 'oidcBegin'
  | 'oidcSession'
  | 'sessionDelete'
  | 'oidcSignOut'
  | 'sessionConfirm'
  | 'passwordChange'
  | 'signInView'
  | 'signInUpdate'
  | 'signInCheck'
type AnyCall = Pick<Call<'sessionView'>, 'request' | 'reply'>

export function sessionRoutes(engine: Engine, auth: Auth, policy: CredentialPolicy): Pick<Handlers, Names> {
  const { account, signIns } = auth
  const originOf = ({ request }: AnyCall) => ({
    from: clientAddress(request.raw, policy.proxies),
    device: deviceOf(request.raw),
    known: knownBrowser(request.raw, policy),
  })
  const page = ({ request }: AnyCall) => requirePageOrigin(request.raw, policy)

  /** Gives the browser its cookie, in place of the one it had. */
  const welcome = ({ request, reply }: AnyCall, { secret, user }: SignedIn) => {
    const old = sessionSecret(request.raw, policy)
    if (old !== null) auth.forget(old)
    const mark = auth.browsers.markFor(user.id, knownBrowser(request.raw, policy))
    reply.header('set-cookie', [sessionCookie(request.raw, policy, secret), knownCookie(request.raw, policy, mark)])
    return auth.session(auth.callerOfSession(secret, clientAddress(request.raw, policy.proxies)))
  }

  /** The person is known by name only until there is a session. */
  const record = (
    call: AnyCall,
    what: string,
    text: string,
    result: 'ok' | 'denied' | 'info',
    who: string | Pick<UserDocument, 'id' | 'name'>,
  ) =>
    engine.record({
      ...{ what, text, result, from: clientAddress(call.request.raw, policy.proxies), caller: null },
      ...(typeof who === 'string' ? { who } : { who: who.name, userId: who.id }),
    })
  const recordOwn = (what: string, text: string, caller: Caller) => engine.record({ what, text, result: 'ok', caller })

  /** One step of signing in: its end is recorded, whatever it is. */
  const signIn = async (
    call: AnyCall,
    what: string,
    who: string | Pick<UserDocument, 'id' | 'name'>,
    step: () => Promise<SignedIn | Challenged>,
  ) => {
    let result: SignedIn | Challenged
    try {
      result = await step()
    } catch (error) {
      const why = error instanceof EngineError && error.code === 'sign_in_failed' ? `: ${error.message}` : '.'
      record(call, what, `A sign-in was refused${why}`, 'denied', who)
      throw error
    }
    if ('challenge' in result) return { ...auth.session(null), challenge: result.challenge }
    for (const sentence of result.notes) record(call, 'userUpdate', sentence, 'info', result.user)
    record(call, what, `${result.user.name} signed in.`, 'ok', result.user)
    return welcome(call, result)
  }

  return {
    sessionView: (call) => auth.session(call.caller),
    async setupCreate(call) {
      try {
        const signedIn = await auth.setUp(call.body, originOf(call))
        const { name } = signedIn.user
        record(call, 'setupCreate', `${name} became the first administrator.`, 'ok', name)
        return welcome(call, signedIn)
      } catch (error) {
        const text = 'An attempt to become the first administrator was refused.'
        record(call, 'setupCreate', text, 'denied', call.body.name)
        throw error
      }
    },
    signInWays: (call) => auth.ways(pageOrigin(call.request.raw, policy)),
    sessionCreate: (call) =>
      signIn(call, 'sessionCreate', call.body.name, () => signIns.password(call.body, originOf(call))),
    secondFactorCreate: (call) =>
      signIn(call, 'secondFactorCreate', signIns.whoseStep(call.body.challenge) ?? 'somebody', async () =>
        signIns.code(call.body.challenge, call.body.code, originOf(call)),
      ),
    passkeyOptions: (call) => auth.passkeys.answerBegin(page(call), call.body.challenge === undefined),
    passkeySession: (call) =>
      signIn(call, 'passkeySession', signIns.whoseStep(call.body.challenge ?? '') ?? 'somebody', () => {
        const { id, response, challenge = null } = call.body
        return signIns.passkey({ id, response, challenge }, page(call), originOf(call))
      }),
    async oidcBegin(call) {
      const { url, flow } = await auth.oidc.begin(page(call))
      call.reply.header('set-cookie', flowCookie(call.request.raw, policy, flow))
      return { url }
    },
    async oidcSession(call) {
      const flow = flowSecret(call.request.raw, policy) ?? ''
      return signIn(call, 'oidcSession', 'somebody', () => signIns.oidc(flow, call.body.query, originOf(call)))
    },
    sessionDelete(call) {
      auth.signOut(call.caller)
      call.reply.header('set-cookie', sessionCookie(call.request.raw, policy, null))
      recordOwn('sessionDelete', `${call.caller.name} signed out.`, call.caller)
    },
    async oidcSignOut(call) {
      const { by } = auth.session(call.caller)
      auth.signOut(call.caller)
      call.reply.header('set-cookie', sessionCookie(call.request.raw, policy, null))
      recordOwn('sessionDelete', `${call.caller.name} signed out.`, call.caller)
      return { url: by === 'oidc' ? await auth.oidc.signOutUrl(page(call)) : null }
    },
    sessionConfirm: (call) => account.confirm(call.caller, call.body),
    async passwordChange(call) {
      await account.changePassword(call.caller, call.body)
      recordOwn('passwordChange', `${call.caller.name} changed their password.`, call.caller)
    },
    signInView: (call) => auth.settingsView(pageOrigin(call.request.raw, policy)),
    signInUpdate(call) {
      // A token may do it as well: it was made by somebody who had just said who they are.
      if (call.caller.via === 'session') account.assertConfirmed(call.caller)
      auth.changeSettings(call.body)
      const parts = Object.keys(call.body).join(', ') || 'nothing'
      recordOwn('signInUpdate', `${call.caller.name} changed how people sign in: ${parts}.`, call.caller)
      return auth.settingsView(pageOrigin(call.request.raw, policy))
    },
    signInCheck: async (call) => ({ realm: call.body.realm, ...(await auth.checkRealm(call.body.realm)) }),
  }
}
