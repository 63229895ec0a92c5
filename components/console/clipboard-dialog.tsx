'use client'
import { useEffect, useRef, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { TextArea } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'

type Note = 'sent' | 'copied' | 'refused' | null

/**
 * The guest's clipboard as a field: what was copied there appears in it, what is written here can be pasted there.
 * Nothing crosses without a press of a button, so that neither side reads what the other happens to hold.
 */
export function ClipboardDialog({
  vmName,
  guestText,
  disabledReason,
  onSend,
  onClose,
}: {
  readonly vmName: string
  /** Last text copied in the guest; null before the first. */
  readonly guestText: string | null
  readonly disabledReason: string | null
  readonly onSend: (text: string) => void
  readonly onClose: () => void
}) {
  const t = useT(consoleMessages)
  const [text, setText] = useState(guestText ?? '')
  const [shown, setShown] = useState(guestText)
  const [note, setNote] = useState<Note>(null)
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => field.current?.focus(), [])
  // Copied in the guest while the dialog is open: the newer text wins, as it does on any clipboard.
  if (guestText !== shown) {
    setShown(guestText)
    setText(guestText ?? '')
    setNote(null)
  }

  const copy = async () => {
    try {
      // Browsers give it to pages on https and on this very computer only.
      if (navigator.clipboard === undefined) throw new Error('no clipboard')
      await navigator.clipboard.writeText(text)
      setNote('copied')
    } catch {
      field.current?.select()
      setNote('refused')
    }
  }

  const empty = text === '' ? t('clipboard.empty') : null
  return (
    <Dialog
      title={t('clipboard.title', { name: vmName })}
      closeLabel={t('clipboard.close')}
      onClose={onClose}
      width="md"
      footer={
        <>
          <Button onClick={onClose}>{t('clipboard.close')}</Button>
          <Button disabledReason={empty} onClick={() => void copy()}>
            {t('clipboard.copy')}
          </Button>
          <Button
            variant="primary"
            disabledReason={disabledReason ?? empty}
            onClick={() => {
              onSend(text)
              setNote('sent')
            }}
          >
            {t('clipboard.send')}
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-4">
        <TextArea
          ref={field}
          label={t('clipboard.text')}
          hint={t('clipboard.hint')}
          rows={8}
          spellCheck={false}
          value={text}
          onChange={(event) => {
            setText(event.target.value)
            setNote(null)
          }}
        />
        <p role="status" className="min-h-5 text-dim text-sm">
          {note !== null && t(`clipboard.${note}`)}
        </p>
      </div>
    </Dialog>
  )
}
