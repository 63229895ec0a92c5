'use client'
import { X } from 'lucide-react'
import { useEffect, useRef } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Disclosure, Output } from '#components/ui/feedback.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { dismissToast, type Toast, toasts } from '#lib/client/toasts.ts'
import { useStore } from '#lib/client/use-store.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

const MARK = { error: 'crashed', info: 'changing', done: 'running' } as const

/** Messages at the lower edge; read aloud as they come. A popover, so that they also stand above dialogs. */
export function Toasts() {
  const t = useT(app)
  const list = useStore(toasts)
  const region = useRef<HTMLElement>(null)
  const count = list.length
  useEffect(() => {
    const box = region.current
    if (!box) return
    if (box.matches(':popover-open')) box.hidePopover()
    if (count > 0) box.showPopover()
  }, [count])
  return (
    <>
      <div role="alert" className="sr-only">
        {list.filter((toast) => toast.kind === 'error').map((toast) => `${toast.title}. ${toast.message ?? ''}`)}
      </div>
      <div role="status" className="sr-only">
        {list.filter((toast) => toast.kind !== 'error').map((toast) => toast.title)}
      </div>
      <section
        ref={region}
        popover="manual"
        aria-label={t('notifications')}
        className="fixed inset-auto end-3 bottom-16 m-0 w-96 max-w-[calc(100vw-1.5rem)] bg-transparent p-0 text-ink"
      >
        <ul className="flex flex-col gap-2">
          {list.map((toast) => (
            <ToastCard key={toast.id} toast={toast} />
          ))}
        </ul>
      </section>
    </>
  )
}

function ToastCard({ toast }: { readonly toast: Toast }) {
  const t = useT(app)
  return (
    <li className="flex items-start gap-2.5 rounded-md border border-line bg-raised p-3 shadow-pop">
      <span className="mt-1">
        {toast.kind === 'info' ? <MarkIcon mark="attention" /> : <MarkIcon mark={MARK[toast.kind]} />}
      </span>
      <div className="flex min-w-0 flex-1 flex-col gap-1">
        <p className="break-words font-medium">{toast.title}</p>
        {toast.message && <p className="break-words text-dim">{toast.message}</p>}
        {toast.action && (
          <div>
            <Button size="sm" onClick={toast.action.run}>
              {toast.action.label}
            </Button>
          </div>
        )}
        {toast.details && (
          <Disclosure summary={t('details')}>
            <Output label={t('details')}>{toast.details}</Output>
          </Disclosure>
        )}
      </div>
      <IconButton size="sm" label={t('dismiss')} onClick={() => dismissToast(toast.id)}>
        <X size={14} aria-hidden="true" />
      </IconButton>
    </li>
  )
}
