/** What the tests use of the package, which ships no types. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  interface Grant {
    addOIDCScope(scope: string): void
    save(): Promise<string>
  }
  interface Context {
    readonly oidc: {
      readonly client?: { readonly clientId: string }
      readonly session?: { readonly accountId?: string }
      readonly provider: Provider & {
        readonly Grant: new (of: { clientId: string; accountId: string }) => Grant
      }
    }
  }
  interface Configuration {
    readonly clients: readonly object[]
    readonly claims: Readonly<Record<string, readonly string[]>>
    readonly pkce: object
    readonly features: object
    readonly ttl?: Readonly<Record<string, number>>
    readonly jwks?: object
    readonly cookies?: object
    readonly interactions: { url(context: Context, interaction: { readonly uid: string }): string }
    findAccount(
      context: Context,
      sub: string,
    ): { readonly accountId: string; claims(): Promise<Readonly<Record<string, unknown>>> }
    loadExistingGrant(context: Context): Promise<Grant | undefined>
  }
  export default class Provider {
    constructor(issuer: string, configuration: Configuration)
    callback(): (request: IncomingMessage, response: ServerResponse) => void
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: object,
      options?: object,
    ): Promise<void>
  }
}
