/** Sign-in, set-up and the own password. */
import type { Auth, SignedIn } from '#server/auth/auth.ts'
import type { Caller, Engine } from '#server/engine/types.ts'
import type { Call, Handlers } from '#server/http/contract-routes.ts'
import { type CredentialPolicy, sessionCookie, sessionSecret } from '#server/http/credentials.ts'

type Names = 'sessionView' | 'setupCreate' | 'sessionCreate' | 'sessionDelete' | 'passwordChange'

export function sessionRoutes(engine: Engine, auth: Auth, policy: CredentialPolicy): Pick<Handlers, Names> {
  const addressOf = (call: { request: Call<'sessionView'>['request'] }) => call.request.ip

  const welcome = (call: Call<'sessionCreate'> | Call<'setupCreate'>, signedIn: SignedIn) => {
    call.reply.header('set-cookie', sessionCookie(call.request.raw, policy, signedIn.secret))
    return auth.session(signedIn.user.id)
  }

  /** For the record; the person is known by name only until there is a session. */
  const record = (
    what: string,
    text: string,
    result: 'ok' | 'denied',
    who: string,
    from: string,
    caller: Caller | null,
  ) => engine.record({ what, text, result, who, from, caller })

  return {
    sessionView: (call) => auth.session(call.caller?.userId ?? null),
    async setupCreate(call) {
      const from = addressOf(call)
      try {
        const signedIn = await auth.setUp(call.body, from)
        record(
          'setupCreate',
          `${signedIn.user.name} became the first administrator.`,
          'ok',
          signedIn.user.name,
          from,
          null,
        )
        return welcome(call, signedIn)
      } catch (error) {
        record(
          'setupCreate',
          'An attempt to become the first administrator was refused.',
          'denied',
          call.body.name,
          from,
          null,
        )
        throw error
      }
    },
    async sessionCreate(call) {
      const from = addressOf(call)
      try {
        const signedIn = await auth.signIn(call.body, from, sessionSecret(call.request.raw, policy))
        record('sessionCreate', `${signedIn.user.name} signed in.`, 'ok', signedIn.user.name, from, null)
        return welcome(call, signedIn)
      } catch (error) {
        record('sessionCreate', 'A sign-in was refused.', 'denied', call.body.name, from, null)
        throw error
      }
    },
    sessionDelete(call) {
      auth.signOut(call.caller)
      call.reply.header('set-cookie', sessionCookie(call.request.raw, policy, null))
      record('sessionDelete', `${call.caller.name} signed out.`, 'ok', call.caller.name, call.caller.from, call.caller)
    },
    async passwordChange(call) {
      await auth.changePassword(call.caller, call.body)
      record(
        'passwordChange',
        `${call.caller.name} changed their password.`,
        'ok',
        call.caller.name,
        call.caller.from,
        call.caller,
      )
    },
  }
}
