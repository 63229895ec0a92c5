'use client'
import { useEffect, useState } from 'react'
import { GuestStage } from '#components/console/guest-stage.tsx'
import { RecordingNote } from '#components/console/people-strip.tsx'
import type { TicketSource } from '#components/console/ticket-source.ts'
import { Button } from '#components/ui/button.tsx'
import { Spinner } from '#components/ui/spinner.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { type CallOutput, call, toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { usePageTitle } from '#lib/client/use-page-title.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { guestLinkMessages } from '#lib/i18n/messages/en/guest-links.ts'

type About = Pick<CallOutput<'guestTicketCreate'>, 'kind' | 'mode' | 'name' | 'label' | 'recordings'>
type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'off' }
  | { readonly kind: 'refused'; readonly why: 'noSecret' | 'invalid' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'open'; readonly about: About; readonly ticket: TicketSource }

const ASK_AGAIN_MS = 3_000
const PASSING: ReadonlySet<string> = new Set(['network', 'busy', 'internal', 'rate_limited'])

/** Exchanges what stands behind the `#` for a ticket, which the browser sends nowhere by itself. */
export function GuestConsole() {
  const t = useT(guestLinkMessages)
  const tApp = useT(app)
  const [state, setState] = useState<State>({ kind: 'opening' })
  const [attempt, setAttempt] = useState(0)
  /** Knows that it is recorded, and joins all the same. */
  const [hasAgreed, setAgreed] = useState(false)
  // Asking again is the point of counting.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    const secret = location.hash.slice(1)
    if (secret === '') {
      setState({ kind: 'refused', why: 'noSecret' })
      return
    }
    const abort = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = (signal: AbortSignal) => call('guestTicketCreate', { body: { secret, presence: true } }, { signal })
    const open = async () => {
      try {
        const first = await ask(abort.signal)
        const unused = [first]
        // The first ticket is there already; later connections need their own.
        const ticket: TicketSource = async (signal) => unused.pop() ?? ask(signal)
        setState({ kind: 'open', about: first, ticket })
      } catch (cause) {
        if (abort.signal.aborted) return
        const error = toApiError(cause)
        if (error.code === 'wrong_state') setState({ kind: 'off' })
        else if (error.status === 404 || error.status === 400) setState({ kind: 'refused', why: 'invalid' })
        else setState({ kind: 'failed', message: error.message })
        if (error.code === 'wrong_state' || PASSING.has(error.code)) timer = setTimeout(open, ASK_AGAIN_MS)
      }
    }
    void open()
    return () => {
      abort.abort()
      clearTimeout(timer)
    }
  }, [attempt])
  useEffect(() => {
    const again = () => setAttempt((n) => n + 1)
    addEventListener('hashchange', again)
    return () => removeEventListener('hashchange', again)
  }, [])
  const name = state.kind === 'open' ? state.about.name : null
  usePageTitle(name === null ? null : `${name} · ${t('guest.title')} · ${tApp('name')}`)

  if (state.kind === 'open' && state.about.recordings.length > 0 && !hasAgreed) {
    return (
      <div className="flex flex-1 items-center justify-center p-4">
        <div className="flex max-w-md flex-col items-center gap-3 text-center">
          <MarkIcon mark="attention" />
          <h1 className="font-medium text-lg">{state.about.name}</h1>
          {state.about.recordings.map((mark) => (
            <RecordingNote key={mark.id} mark={mark} />
          ))}
          <p>{t('guest.recorded')}</p>
          <Button variant="primary" onClick={() => setAgreed(true)}>
            {t('guest.join')}
          </Button>
        </div>
      </div>
    )
  }
  if (state.kind === 'open') return <GuestStage about={state.about} ticket={state.ticket} />
  const isWaiting = state.kind === 'opening' || state.kind === 'off'
  return (
    <div className="flex flex-1 items-center justify-center p-4">
      <div className="flex max-w-md flex-col items-center gap-3 text-center">
        {isWaiting ? <Spinner /> : <MarkIcon mark="attention" />}
        <h1 className="font-medium text-lg">{tApp('name')}</h1>
        <p role="status">{textOf(state, t)}</p>
        {state.kind === 'failed' && <Button onClick={() => setAttempt((n) => n + 1)}>{t('guest.again')}</Button>}
      </div>
    </div>
  )
}

function textOf(
  state: Exclude<State, { kind: 'open' }>,
  t: ReturnType<typeof useT<typeof guestLinkMessages.messages>>,
): string {
  switch (state.kind) {
    case 'opening':
      return t('guest.opening')
    case 'off':
      return t('guest.off')
    case 'refused':
      return t(`guest.${state.why}`)
    case 'failed':
      return t('guest.failed', { message: state.message })
  }
}
