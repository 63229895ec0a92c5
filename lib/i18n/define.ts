/**
 * Message catalogues. A namespace is one file under `messages/en/`; its English text is imported by the components
 * that speak it, so every page downloads only its own words. Other locales replace namespaces by name at run time
 * (`LocaleProvider`), which is why each catalogue carries the name it is filed under.
 */
export type Messages = { readonly [key: string]: string | Messages }

export interface Catalogue<M extends Messages> {
  readonly namespace: string
  readonly messages: M
}

/** Declares a namespace. Messages are ICU: `{name}`, `{count, plural, one {# VM} other {# VMs}}`. */
export const defineMessages = <const M extends Messages>(namespace: string, messages: M): Catalogue<M> => ({
  namespace,
  messages,
})
