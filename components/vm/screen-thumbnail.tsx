'use client'
import { useEffect, useRef, useState } from 'react'
import { cx } from '#components/ui/cx.ts'
import { MARK_OF_STATE, MarkIcon } from '#components/ui/state-mark.tsx'
import { operationUrl } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const REFRESH_MS = 4_000

/**
 * The guest's screen, small, taken again every few seconds while it is in view and the page is looked at.
 * The last picture stays, dimmed, when the guest stops.
 */
export function ScreenThumbnail({
  vm,
  width,
  className,
}: {
  readonly vm: Vm
  readonly width: number
  readonly className?: string
}) {
  const t = useT(messages)
  const box = useRef<HTMLSpanElement>(null)
  const [picture, setPicture] = useState<string | null>(null)
  const live = vm.state === 'running' || vm.state === 'paused' || vm.state === 'stopping'
  const shows = live && vm.spec.display !== 'none'
  const { id } = vm

  useEffect(() => {
    const element = box.current
    if (!shows || !element) return
    let timer: ReturnType<typeof setTimeout> | undefined
    let visible = false
    let taking = false
    const abort = new AbortController()
    const take = async () => {
      clearTimeout(timer)
      if (!visible || taking || document.visibilityState !== 'visible') return
      taking = true
      try {
        const url = operationUrl('vmScreenshot', { params: { id }, query: { width } })
        const response = await fetch(url, { signal: abort.signal, credentials: 'same-origin', cache: 'no-store' })
        if (response.ok) {
          const next = URL.createObjectURL(await response.blob())
          setPicture((old) => {
            if (old) URL.revokeObjectURL(old)
            return next
          })
        }
      } catch {
        // No picture this time; the connection banner tells when it is more than that.
      }
      taking = false
      if (!abort.signal.aborted) timer = setTimeout(() => void take(), REFRESH_MS)
    }
    const watcher = new IntersectionObserver((entries) => {
      visible = entries.at(-1)?.isIntersecting ?? false
      if (visible) void take()
    })
    const look = () => void take()
    watcher.observe(element)
    document.addEventListener('visibilitychange', look)
    return () => {
      abort.abort()
      clearTimeout(timer)
      watcher.disconnect()
      document.removeEventListener('visibilitychange', look)
    }
  }, [id, width, shows])
  // The last object URL lives as long as the component.
  const last = useRef<string | null>(null)
  last.current = picture
  useEffect(
    () => () => {
      if (last.current) URL.revokeObjectURL(last.current)
    },
    [],
  )

  return (
    <span
      ref={box}
      className={cx(
        'relative flex aspect-[8/5] items-center justify-center overflow-hidden rounded-sm border border-line bg-screen',
        className,
      )}
    >
      {picture ? (
        // biome-ignore lint/performance/noImgElement: an object URL that changes every few seconds; nothing to optimize
        <img
          src={picture}
          alt={t('screenOf', { name: vm.name })}
          className={cx('h-full w-full object-contain', !live && 'opacity-35 grayscale')}
        />
      ) : (
        <MarkIcon mark={MARK_OF_STATE[vm.state]} className="size-4 opacity-70" />
      )}
    </span>
  )
}
