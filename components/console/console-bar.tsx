'use client'
import { Expand, Eye, PictureInPicture2, Shrink } from 'lucide-react'
import { type ReactNode, useEffect, useState } from 'react'
import { IconButton } from '#components/ui/button.tsx'
import { Switch } from '#components/ui/choice.tsx'
import { cx } from '#components/ui/cx.ts'
import { Kbd } from '#components/ui/kbd.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

export type ConsoleTab = 'screen' | 'serial'

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
}

/** The slim bar: which console, who watches, control, then the tools of the kind. */
export function ConsoleBar({
  frame,
  hasKeyboard,
  children,
}: {
  readonly frame: ConsoleFrame
  /** Keys go to the guest now. */
  readonly hasKeyboard: boolean
  readonly children: ReactNode
}) {
  const t = useT(consoleMessages)
  const { vm, tab } = frame
  const viewers = tab === 'screen' ? vm.live?.viewers.vnc : vm.live?.viewers.serial
  return (
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
      {viewers !== undefined && viewers > 0 && (
        <span className="figures inline-flex items-center gap-1 text-faint text-sm" data-tip={t('watchingTip')}>
          <Eye size={14} aria-hidden="true" />
          {t('watching', { count: viewers })}
        </span>
      )}
      {/* Of no width of its own: coming and going, it moves nothing. */}
      <p className="min-w-0 flex-1 basis-0 truncate text-end text-faint text-sm">
        {hasKeyboard &&
          frame.mode === 'control' &&
          t.rich('keysToGuest', { keys: () => <Kbd key="keys">{t('release')}</Kbd> })}
      </p>
      <div className="flex flex-wrap items-center gap-1">
        {children}
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

function FullScreenButton({ root }: { readonly root: ConsoleFrame['root'] }) {
  const t = useT(consoleMessages)
  const [isFull, setFull] = useState(false)
  useEffect(() => {
    const update = () => setFull(document.fullscreenElement !== null)
    document.addEventListener('fullscreenchange', update)
    return () => document.removeEventListener('fullscreenchange', update)
  }, [])
  return (
    <IconButton
      label={isFull ? t('leaveFullScreen') : t('fullScreen')}
      onClick={() => {
        // A browser may refuse, for example in an embedded page; the button then simply does nothing.
        const change = isFull ? document.exitFullscreen() : root.current?.requestFullscreen()
        change?.catch(() => {})
      }}
    >
      {isFull ? <Shrink size={16} aria-hidden="true" /> : <Expand size={16} aria-hidden="true" />}
    </IconButton>
  )
}
