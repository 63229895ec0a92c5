/** The browser's side of passkeys; its library is fetched with the first use. */
import type { CallOutput } from './api-client.ts'

type Options = CallOutput<'passkeyOptions'>['options']
type Response = { [key: string]: Options[string] }

/** Thrown when the browser or its owner did not want to. */
export class PasskeyCancelled extends Error {
  override readonly name = 'PasskeyCancelled'
}

const cancelled = (cause: unknown): never => {
  throw new PasskeyCancelled(cause instanceof Error ? cause.message : String(cause))
}

/** @throws PasskeyCancelled */
export async function makePasskey(options: Options): Promise<Response> {
  const { startRegistration } = await import('@simplewebauthn/browser')
  // Options and answers are the library's own JSON on both sides; the API only says so more loosely.
  const answer = await startRegistration({ optionsJSON: options as never }).catch(cancelled)
  return answer as unknown as Response
}

/** @throws PasskeyCancelled */
export async function askForPasskey(options: Options): Promise<Response> {
  const { startAuthentication } = await import('@simplewebauthn/browser')
  const answer = await startAuthentication({ optionsJSON: options as never }).catch(cancelled)
  return answer as unknown as Response
}
