'use client'
import dynamic from 'next/dynamic'
import { confirmation } from '#lib/client/confirm.ts'
import { useStore } from '#lib/client/use-store.ts'

const ConfirmDialog = dynamic(() => import('./confirm-dialog.tsx').then((m) => m.ConfirmDialog), { ssr: false })

/** Shows whatever `askToConfirm` asks; its code is fetched with the first question. */
export function ConfirmHost() {
  const request = useStore(confirmation)
  return request && <ConfirmDialog request={request} />
}
