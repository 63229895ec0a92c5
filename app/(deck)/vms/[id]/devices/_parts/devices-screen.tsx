'use client'
import dynamic from 'next/dynamic'
import { useRouter, useSearchParams } from 'next/navigation'
import { useState } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { cx } from '#components/ui/cx.ts'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Page } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import { paths } from '#lib/paths.ts'
import { AddMenu } from './add-menu.tsx'
import { DeviceList } from './device-list.tsx'
import { type DeviceEntry, type Target, targetOf } from './entries.ts'
import { Hardware } from './hardware.tsx'
import { LiveControls } from './live-controls.tsx'

const Editor = dynamic(() => import('./editor.tsx').then((part) => part.Editor), {
  ssr: false,
  loading: () => <EditorSkeleton />,
})
const VirtioAssistant = dynamic(
  () => import('#components/vm/virtio-assistant.tsx').then((part) => part.VirtioAssistant),
  { ssr: false, loading: () => <Skeleton className="h-40 w-full" /> },
)
const RemoveDialog = dynamic(() => import('./remove-dialog.tsx').then((part) => part.RemoveDialog), { ssr: false })

/** Everything the machine is made of: what it has, what waits, what the guest sees. The open editor is in the address. */
export function DevicesScreen() {
  const t = useT(devicesPage)
  const vm = useVm()
  const router = useRouter()
  const query = useSearchParams()
  const target = targetOf(query)
  const hasAssistant = query.get('assistant') === 'virtio'
  const [removing, setRemoving] = useState<DeviceEntry | null>(null)
  const [note, setNote] = useState<string | null>(null)
  const mayNot = vm.actions.change?.allowed === false ? (vm.actions.change.reason ?? t('forbidden')) : null
  const close = () => router.push(paths.vmDevices(vm.id), { scroll: false })
  const isOpen = target !== null
  return (
    <Page>
      {mayNot && <Banner tone="info">{mayNot}</Banner>}
      <div className={cx('grid min-w-0 gap-6', isOpen && 'lg:grid-cols-[minmax(0,1fr)_minmax(26rem,34rem)]')}>
        <div className={cx('flex min-w-0 flex-col gap-6', isOpen && 'max-lg:hidden')}>
          <div className="flex min-h-8 flex-wrap items-center gap-x-4 gap-y-2">
            <p role="status" className="min-w-0 flex-1 text-dim">
              {note}
            </p>
            <ButtonLink
              scroll={false}
              href={paths.vmDevices(vm.id, hasAssistant ? {} : { assistant: 'virtio' })}
              aria-expanded={hasAssistant}
            >
              {t(hasAssistant ? 'assistantClose' : 'assistant')}
            </ButtonLink>
            <AddMenu vm={vm} mayNot={mayNot} />
          </div>
          {hasAssistant && <VirtioAssistant vm={vm} />}
          {vm.live && <LiveControls vm={vm} live={vm.live} mayNot={mayNot} />}
          <DeviceList vm={vm} target={target} mayNot={mayNot} onRemove={setRemoving} />
          <Hardware vm={vm} />
        </div>
        {target && (
          <div className="min-w-0">
            <Editor
              key={keyOf(target)}
              vm={vm}
              target={target}
              mayNot={mayNot}
              onClose={close}
              onDone={(done) => {
                setNote(done)
                close()
              }}
            />
          </div>
        )}
      </div>
      {removing && (
        <RemoveDialog
          vm={vm}
          entry={removing}
          mayNot={mayNot}
          onClose={() => setRemoving(null)}
          onDone={(done) => {
            setNote(done)
            setRemoving(null)
            if (target?.kind === 'device' && target.id === removing.id) close()
          }}
        />
      )}
    </Page>
  )
}

const keyOf = (target: Target) =>
  target.kind === 'device' ? `device ${target.id}` : target.kind === 'part' ? target.part : `add ${target.what}`

function EditorSkeleton() {
  const t = useT(devicesPage)
  return (
    <div aria-busy="true" className="flex flex-col gap-3 rounded-md border border-line p-4">
      <span className="sr-only">{t('editor.loading')}</span>
      <Skeleton className="h-7 w-40" />
      <Skeleton className="h-24 w-full" />
      <Skeleton className="h-24 w-full" />
    </div>
  )
}
