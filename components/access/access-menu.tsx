'use client'
import { Share2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Menu } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { access as messages } from '#lib/i18n/messages/en/access.ts'
import type { Shared } from './access-kinds.ts'

const ShareDialog = dynamic(() => import('./share-dialog.tsx').then((m) => m.ShareDialog), { ssr: false })
const MoveDialog = dynamic(() => import('./move-dialog.tsx').then((m) => m.MoveDialog), { ssr: false })

/** The dialog that is open about an object, if any. */
export function AccessDialog({
  of,
  open,
  onClose,
}: {
  readonly of: Shared
  readonly open: 'share' | 'move' | null
  readonly onClose: () => void
}) {
  if (open === 'share') return <ShareDialog of={of} onClose={onClose} />
  return open === 'move' ? <MoveDialog of={of} onClose={onClose} /> : null
}

/** Share and move behind one icon. */
export function AccessMenu({ of, disabledReason }: { readonly of: Shared; readonly disabledReason: string | null }) {
  const t = useT(messages)
  const [open, setOpen] = useState<'share' | 'move' | null>(null)
  return (
    <>
      <Menu
        label={t('menu', { name: of.name })}
        iconOnly
        size="sm"
        disabledReason={disabledReason}
        items={[
          { id: 'share', label: t('share.actionMore'), onSelect: () => setOpen('share') },
          { id: 'move', label: t('move.action'), onSelect: () => setOpen('move') },
        ]}
      >
        <Share2 size={14} aria-hidden="true" />
      </Menu>
      <AccessDialog of={of} open={open} onClose={() => setOpen(null)} />
    </>
  )
}
