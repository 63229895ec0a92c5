'use client'
import { PictureInPicture2, Share2 } from 'lucide-react'
import { type ReactNode, useState } from 'react'
import { RecordButton } from '#components/recording/record-button.tsx'
import { IconButton } from '#components/ui/button.tsx'
import { Switch } from '#components/ui/choice.tsx'
import { cx } from '#components/ui/cx.ts'
import { Kbd } from '#components/ui/kbd.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import { paths } from '#lib/paths.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { ConsoleTab } from './console-tab.ts'
import { FullScreenButton } from './full-screen-button.tsx'
import { GuestLinksDialog } from './guest-links-dialog.tsx'
import { PeopleStrip } from './people-strip.tsx'
import { heldByOther, type Presence, type Wish } from './presence.ts'

/** Where the console is shown; the parts of the bar that do not depend on its kind need it. */
export interface ConsoleFrame {
  readonly vm: Vm
  readonly tab: ConsoleTab
  readonly onTab: (tab: ConsoleTab) => void
  /** True in a window of its own. */
  readonly ownWindow: boolean
  /** Element that goes full screen. */
  readonly root: { readonly current: HTMLElement | null }
  readonly mode: 'control' | 'view'
  readonly onMode: (mode: 'control' | 'view') => void
  readonly mayControl: boolean
  /** Null while there is no connection. */
  readonly presence: Presence | null
  readonly onNews: (news: ConsoleNews | null) => void
}

/** The slim bar: which console, who watches, control, then the tools of the kind. */
export function ConsoleBar({
  frame,
  hasKeyboard,
  onWish,
  children,
}: {
  readonly frame: ConsoleFrame
  /** Keys go to the guest now. */
  readonly hasKeyboard: boolean
  readonly onWish: (wish: Wish) => void
  readonly children: ReactNode
}) {
  const t = useT(consoleMessages)
  const { vm, tab, presence } = frame
  const mayShare = vm.privileges?.includes('vm.console.share') ?? false
  const [isSharing, setSharing] = useState(false)
  return (
    <>
      <div
        role="toolbar"
        aria-label={t('tools')}
        className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-b bg-surface px-3 py-1"
      >
        <TabSwitch frame={frame} />
        <Switch
          label={t('control')}
          inline
          checked={frame.mode === 'control'}
          disabledReason={frame.mayControl ? null : t('mayNotControl')}
          onChange={(event) => frame.onMode(event.target.checked ? 'control' : 'view')}
        />
        {/* Of no width of its own: coming and going, it moves nothing. */}
        <p className="min-w-0 flex-1 basis-0 truncate text-end text-faint text-sm">
          {hasKeyboard &&
            frame.mode === 'control' &&
            heldByOther(presence) === null &&
            t.rich('keysToGuest', { keys: () => <Kbd key="keys">{t('release')}</Kbd> })}
        </p>
        <div className="flex flex-wrap items-center gap-1">
          {children}
          <RecordButton vm={vm} kind={tab === 'screen' ? 'vnc' : 'serial'} />
          <IconButton
            label={t('share')}
            disabledReason={mayShare ? null : t('mayNotShare')}
            onClick={() => setSharing(true)}
          >
            <Share2 size={16} aria-hidden="true" />
          </IconButton>
          <FullScreenButton root={frame.root} />
          {!frame.ownWindow && (
            <IconButton
              label={t('ownWindow')}
              onClick={() => {
                window.open(
                  `${paths.vmConsoleWindow(vm.id)}?tab=${tab}`,
                  `guestdeck-${vm.id}`,
                  'popup,width=1040,height=840',
                )
              }}
            >
              <PictureInPicture2 size={16} aria-hidden="true" />
            </IconButton>
          )}
        </div>
      </div>
      <PeopleStrip vm={vm} presence={presence} onWish={onWish} />
      {isSharing && <GuestLinksDialog vm={vm} tab={tab} onClose={() => setSharing(false)} />}
    </>
  )
}

function TabSwitch({ frame: { vm, tab, onTab } }: { readonly frame: ConsoleFrame }) {
  const t = useT(consoleMessages)
  const tabs = [
    { id: 'screen', label: t('screen'), reason: vm.spec.display === 'none' ? t('noScreen') : null },
    { id: 'serial', label: t('serial'), reason: vm.spec.serial ? null : t('noSerial') },
  ] as const
  return (
    <fieldset className="inline-flex rounded-md border border-edge">
      <legend className="sr-only">{t('which')}</legend>
      {tabs.map(({ id, label, reason }) => (
        <button
          key={id}
          type="button"
          aria-pressed={tab === id}
          aria-disabled={reason ? true : undefined}
          aria-description={reason ?? undefined}
          data-tip={reason ?? undefined}
          onClick={() => reason === null && onTab(id)}
          className={cx(
            'touch h-7 px-2.5 first-of-type:rounded-s-md last-of-type:rounded-e-md',
            tab === id ? 'bg-selected font-medium text-ink' : 'text-dim not-aria-disabled:hover:bg-hover',
            reason && 'opacity-55',
          )}
        >
          {label}
        </button>
      ))}
    </fieldset>
  )
}
