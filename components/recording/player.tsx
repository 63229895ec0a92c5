'use client'
import '@xterm/xterm/css/xterm.css'
import { Pause, Play, X } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'
import { Spinner } from '#components/ui/spinner.tsx'
import { operationUrl } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { recordingMessages } from '#lib/i18n/messages/en/recordings.ts'
import {
  clockText,
  hasEnded,
  pause,
  play,
  positionOf,
  type ReplayClock,
  SPEEDS,
  seek,
  stoppedClock,
  withSpeed,
} from '#lib/recording/replay-clock.ts'
import type { Recording } from '#lib/schema/recording.ts'
import type { Replay } from './replay.ts'
import { openScreenReplay } from './screen-replay.ts'
import { openSerialReplay } from './serial-replay.ts'

type Loading = { readonly kind: 'loading' } | { readonly kind: 'ready' } | { readonly kind: 'failed'; message: string }
const STEP_MS = 1000

/** One recording with its controls. Another recording is another player (`key`). */
export function RecordingPlayer({
  recording,
  onClose,
}: {
  readonly recording: Recording
  readonly onClose: () => void
}) {
  const t = useT(recordingMessages)
  const locale = useLocale()
  const target = useRef<HTMLDivElement>(null)
  const replay = useRef<Replay | null>(null)
  const clock = useRef<ReplayClock>(stoppedClock(0))
  const [state, setState] = useState<Loading>({ kind: 'loading' })
  const [shown, setShown] = useState<ReplayClock>(clock.current)
  const [positionMs, setPositionMs] = useState(0)
  const { id, vmId, kind } = recording

  useEffect(() => {
    const element = target.current
    if (element === null) return
    const abort = new AbortController()
    const url = operationUrl('recordingContent', { params: { id: vmId, recording: id } })
    const open = kind === 'vnc' ? openScreenReplay : openSerialReplay
    open(element, url, abort.signal).then(
      (opened) => {
        if (abort.signal.aborted) {
          opened.dispose()
          return
        }
        replay.current = opened
        opened.onFailure((cause) => {
          clock.current = pause(clock.current, performance.now())
          setShown(clock.current)
          setState({ kind: 'failed', message: cause instanceof Error ? cause.message : '' })
        })
        clock.current = play(stoppedClock(opened.durationMs), performance.now())
        setShown(clock.current)
        setState({ kind: 'ready' })
      },
      (cause: unknown) => {
        if (!abort.signal.aborted) setState({ kind: 'failed', message: cause instanceof Error ? cause.message : '' })
      },
    )
    return () => {
      abort.abort()
      replay.current?.dispose()
      replay.current = null
      element.replaceChildren()
    }
  }, [id, vmId, kind])

  // Drawn with the browser's own pictures, so that nothing is drawn while the page is hidden.
  const isRunning = state.kind === 'ready' && shown.isPlaying
  useEffect(() => {
    if (!isRunning) return
    let request = 0
    const draw = () => {
      const now = performance.now()
      const at = positionOf(clock.current, now)
      replay.current?.show(at)
      setPositionMs(Math.floor(at / 100) * 100)
      if (hasEnded(clock.current, now)) {
        clock.current = pause(clock.current, now)
        setPositionMs(at)
        setShown(clock.current)
      } else request = requestAnimationFrame(draw)
    }
    request = requestAnimationFrame(draw)
    return () => cancelAnimationFrame(request)
  }, [isRunning])

  const change = (next: ReplayClock): void => {
    clock.current = next
    setShown(next)
    const at = positionOf(next, performance.now())
    setPositionMs(at)
    replay.current?.show(at)
  }
  const now = () => performance.now()
  const isReady = state.kind === 'ready'
  const notReady = isReady ? null : state.kind === 'failed' ? t('unplayable') : t('loading')
  const title = t(kind === 'vnc' ? 'playerScreen' : 'playerSerial', {
    when: formatAbsolute(recording.startedAt, locale),
  })
  return (
    <section aria-label={title} className="flex min-w-0 flex-col overflow-hidden rounded-md border border-line">
      <header className="flex items-center gap-3 border-line border-b bg-surface px-3 py-1">
        <h2 className="min-w-0 flex-1 truncate">{title}</h2>
        <IconButton label={t('closePlayer')} onClick={onClose}>
          <X size={16} aria-hidden="true" />
        </IconButton>
      </header>
      <div className="relative h-[min(70vh,48rem)] min-h-64 bg-screen" data-state={state.kind}>
        <div ref={target} className={cx('absolute bg-screen font-mono', kind === 'vnc' ? 'inset-0' : 'inset-2')} />
        {!isReady && (
          <p
            role={state.kind === 'failed' ? 'alert' : 'status'}
            className="absolute inset-0 flex items-center justify-center gap-2 bg-canvas p-4"
          >
            {state.kind === 'loading' ? (
              <>
                <Spinner /> {t('loading')}
              </>
            ) : (
              `${t('unplayable')} ${state.message}`
            )}
          </p>
        )}
      </div>
      <div
        role="toolbar"
        aria-label={t('controls')}
        className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-t bg-surface px-3 py-1.5"
      >
        <Button
          size="sm"
          variant="primary"
          disabledReason={notReady}
          icon={shown.isPlaying ? <Pause size={14} aria-hidden="true" /> : <Play size={14} aria-hidden="true" />}
          onClick={() => change(shown.isPlaying ? pause(clock.current, now()) : play(clock.current, now()))}
        >
          {t(shown.isPlaying ? 'pause' : 'play')}
        </Button>
        <input
          type="range"
          aria-label={t('position')}
          aria-valuetext={t('positionText', { at: clockText(positionMs), of: clockText(shown.durationMs) })}
          min={0}
          max={shown.durationMs}
          step={STEP_MS > shown.durationMs ? 1 : STEP_MS}
          value={positionMs}
          aria-disabled={isReady ? undefined : true}
          onChange={(event) => isReady && change(seek(clock.current, Number(event.target.value), now()))}
          className="min-w-32 flex-1 accent-accent-fill"
        />
        <span className="figures text-dim text-sm">
          {clockText(positionMs)} / {clockText(shown.durationMs)}
        </span>
        <fieldset className="inline-flex rounded-md border border-edge">
          <legend className="sr-only">{t('speed')}</legend>
          {SPEEDS.map((speed) => (
            <button
              key={speed}
              type="button"
              aria-pressed={shown.speed === speed}
              aria-label={t('speedOf', { speed })}
              onClick={() => change(withSpeed(clock.current, speed, now()))}
              className={cx(
                'touch h-7 px-2 text-sm first-of-type:rounded-s-md last-of-type:rounded-e-md',
                shown.speed === speed ? 'bg-selected font-medium text-ink' : 'text-dim hover:bg-hover',
              )}
            >
              {speed}×
            </button>
          ))}
        </fieldset>
      </div>
    </section>
  )
}
