'use client'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

export function CodesDialog({ codes, onClose }: { readonly codes: readonly string[]; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  return (
    <Dialog
      title={t('codes.title')}
      closeLabel={tApp('close')}
      onClose={onClose}
      locked
      footer={
        <Button variant="primary" onClick={onClose}>
          {t('codes.done')}
        </Button>
      }
    >
      <p className="mb-3">{t('codes.body')}</p>
      <div className="flex items-start gap-1 rounded-md border border-line bg-sunken px-3 py-2">
        <ul className="figures grid flex-1 select-all gap-x-6 gap-y-1 font-mono text-sm sm:grid-cols-2">
          {codes.map((code) => (
            <li key={code}>{code}</li>
          ))}
        </ul>
        <CopyButton text={codes.join('\n')} label={t('codes.copy')} copiedLabel={tApp('copied')} />
      </div>
    </Dialog>
  )
}
