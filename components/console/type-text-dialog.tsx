'use client'
import { useEffect, useRef, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Select, TextArea } from '#components/ui/field.tsx'
import { MeterBar } from '#components/ui/meter.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { recall, remember } from '#lib/client/preferences.ts'
import { planTyping, type Stroke } from '#lib/console/keymap.ts'
import { KEYBOARD_LAYOUTS, type KeyboardLayout } from '#lib/console/layouts.ts'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'
import type { TypingOptions } from './vnc-session.ts'

/**
 * QEMU's USB keyboard holds 16 events and hands out one per poll; more are lost, releases too, and then a key repeats.
 * Firmware polls with the BIOS timer tick (55 ms), operating systems every 8 to 10 ms.
 */
const PAUSE_MS = 65
const FAST_PAUSE_MS = 12
const MISSING_SHOWN = 12

type Progress =
  | { readonly kind: 'idle' }
  | { readonly kind: 'typing'; readonly done: number; readonly total: number }
  | { readonly kind: 'interrupted'; readonly done: number; readonly total: number }
  | { readonly kind: 'finished'; readonly total: number }

const asLayout = (value: unknown): KeyboardLayout | null => KEYBOARD_LAYOUTS.find((layout) => layout === value) ?? null

/** Text to key presses, with the guest's layout, progress and a way to stop. Closing stops too. */
export function TypeTextDialog({
  vmId,
  vmName,
  disabledReason,
  type,
  onClose,
}: {
  readonly vmId: string
  readonly vmName: string
  readonly disabledReason: string | null
  readonly type: (strokes: readonly Stroke[], options: TypingOptions) => Promise<number>
  readonly onClose: () => void
}) {
  const t = useT(consoleMessages)
  const [text, setText] = useState('')
  const [layout, setLayout] = useState<KeyboardLayout>(
    () => recall(`keyboard.${vmId}`, asLayout) ?? recall('keyboard', asLayout) ?? 'us',
  )
  const [isFast, setFast] = useState(false)
  const [progress, setProgress] = useState<Progress>({ kind: 'idle' })
  const abort = useRef<AbortController | null>(null)
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    field.current?.focus()
    return () => abort.current?.abort()
  }, [])

  const plan = planTyping(text, layout)
  const isTyping = progress.kind === 'typing'

  const start = async () => {
    const controller = new AbortController()
    abort.current = controller
    remember(`keyboard.${vmId}`, layout)
    remember('keyboard', layout)
    const total = plan.strokes.length
    setProgress({ kind: 'typing', done: 0, total })
    let shown = 0
    const done = await type(plan.strokes, {
      signal: controller.signal,
      pauseMs: isFast ? FAST_PAUSE_MS : PAUSE_MS,
      onProgress: (strokes) => {
        if (strokes === shown || controller.signal.aborted) return
        shown = strokes
        setProgress({ kind: 'typing', done: strokes, total })
      },
    })
    if (abort.current !== controller) return
    if (done === total) setProgress({ kind: 'finished', total })
    else if (controller.signal.aborted) setProgress({ kind: 'idle' })
    else setProgress({ kind: 'interrupted', done, total })
  }

  return (
    <Dialog
      title={t('type.title', { name: vmName })}
      closeLabel={t('type.close')}
      onClose={onClose}
      width="md"
      locked={isTyping}
      footer={
        isTyping ? (
          <Button onClick={() => abort.current?.abort()}>{t('type.stop')}</Button>
        ) : (
          <>
            <Button onClick={onClose}>{t('type.close')}</Button>
            <Button
              variant="primary"
              disabledReason={disabledReason ?? (plan.strokes.length === 0 ? t('type.needsText') : null)}
              onClick={() => void start()}
            >
              {t('type.send')}
            </Button>
          </>
        )
      }
    >
      <div className="flex flex-col gap-4">
        <TextArea
          ref={field}
          label={t('type.text')}
          hint={t('type.hint')}
          mono
          rows={6}
          spellCheck={false}
          readOnly={isTyping}
          value={text}
          onChange={(event) => {
            setText(event.target.value)
            setProgress({ kind: 'idle' })
          }}
        />
        <div className="flex flex-wrap items-start gap-x-6 gap-y-3">
          <Select
            label={t('type.layout')}
            className="min-w-52"
            value={layout}
            options={KEYBOARD_LAYOUTS.map((value) => ({ value, label: t(`layouts.${value}`) }))}
            onChange={(event) => setLayout(asLayout(event.target.value) ?? 'us')}
          />
          <div className="min-w-0 flex-1 basis-56 sm:pt-6">
            <Checkbox
              label={t('type.fast')}
              hint={t('type.fastHint')}
              checked={isFast}
              onChange={(event) => setFast(event.target.checked)}
            />
          </div>
        </div>
        <div role="status" className="flex min-h-5 flex-col gap-2 text-sm">
          {plan.missing.length > 0 && progress.kind === 'idle' && (
            <p className="text-attention">
              {t('type.missing', {
                characters: plan.missing.slice(0, MISSING_SHOWN).map(nameOfCharacter).join(' '),
                count: plan.missing.length,
              })}
            </p>
          )}
          {progress.kind === 'typing' && (
            <>
              <MeterBar
                label={t('type.progress', progress)}
                parts={[{ label: 'done', share: progress.done / Math.max(1, progress.total), tone: 'used' }]}
              />
              <p className="figures text-dim">{t('type.progress', progress)}</p>
            </>
          )}
          {progress.kind === 'interrupted' && <p className="text-attention">{t('type.interrupted', progress)}</p>}
          {progress.kind === 'finished' && <p className="text-dim">{t('type.finished', progress)}</p>}
        </div>
      </div>
    </Dialog>
  )
}

/** Control characters have no shape: their number stands for them. */
function nameOfCharacter(character: string): string {
  const point = character.codePointAt(0) ?? 0
  return point < 0x20 || (point >= 0x7f && point < 0xa0) ? `U+${point.toString(16).padStart(4, '0')}` : character
}
