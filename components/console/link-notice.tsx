'use client'
import { Button } from '#components/ui/button.tsx'
import { Spinner } from '#components/ui/spinner.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { VmPrimaryAction } from '#components/vm/vm-actions-menu.tsx'
import { VmStateMark } from '#components/vm/vm-state.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { LinkState } from './console-link.ts'

/** What became of the connection, over the console it concerns; nothing while connected. */
export function LinkNotice({
  state,
  onConnect,
  guest = false,
}: {
  readonly state: LinkState
  readonly onConnect: () => void
  /** Came by a link: there is no session to sign in to again. */
  readonly guest?: boolean
}) {
  const t = useT(consoleMessages)
  return (
    <div role="status" className="pointer-events-none absolute inset-x-0 top-3 z-10 flex justify-center px-3">
      {state.kind !== 'connected' && (
        <div className="pointer-events-auto flex max-w-full flex-wrap items-center gap-x-3 gap-y-1 rounded-md border border-line bg-raised px-3 py-2 shadow-pop">
          {state.kind === 'ended' ? <MarkIcon mark="attention" /> : <Spinner />}
          <span className="min-w-0">
            {guest && state.kind === 'ended' && state.why === 'revoked' ? t('link.linkEnded') : textOf(state, t)}
          </span>
          {state.kind === 'waiting' && !state.off && (
            <Button size="sm" onClick={onConnect}>
              {t('link.now')}
            </Button>
          )}
          {state.kind === 'ended' && state.why !== 'revoked' && (
            <Button size="sm" onClick={onConnect}>
              {t('link.again')}
            </Button>
          )}
        </div>
      )}
    </div>
  )
}

function textOf(
  state: Exclude<LinkState, { kind: 'connected' }>,
  t: ReturnType<typeof useT<typeof consoleMessages.messages>>,
) {
  if (state.kind === 'connecting') return t('link.connecting')
  if (state.kind === 'waiting') return state.off ? t('link.off') : t('link.waiting')
  switch (state.why) {
    case 'disconnected':
      // The server says who it was, and why if they said so.
      return state.message || t('link.disconnected')
    case 'revoked':
    case 'tooMany':
    case 'policy':
      return t(`link.${state.why}`)
    default:
      return t('link.failed', { message: state.message })
  }
}

/** In the middle of a dark console: the guest is off, and what to do about it. */
export function OffNotice({ vm }: { readonly vm: Vm }) {
  const t = useT(consoleMessages)
  const isStarting = vm.state === 'starting'
  return (
    <div className="absolute inset-0 z-10 flex items-center justify-center p-4">
      <div className="flex max-w-md flex-col items-center gap-3 rounded-md border border-line bg-raised px-6 py-5 text-center shadow-pop">
        <VmStateMark state={vm.state} />
        <p className="font-medium text-lg">{isStarting ? t('startingTitle') : t('offTitle')}</p>
        {vm.lastExit && !isStarting && <p className="text-dim text-sm">{vm.lastExit.summary}</p>}
        {!isStarting && <VmPrimaryAction vm={vm} />}
      </div>
    </div>
  )
}
