'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import type { Backup } from '#lib/schema/backup.ts'

const WAIT_SECONDS = 60

export function VerifyDialog({ backup, onClose }: { readonly backup: Backup; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const [boot, setBoot] = useState(false)
  const [wait, setWait] = useState<number | null>(WAIT_SECONDS)
  const verify = useOperation('backupVerify', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('verifyDialog.started') })
      onClose()
    },
  })
  const { error } = verify
  return (
    <Dialog
      title={t('verifyDialog.title', { name: backup.vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={verify.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="backup-verify" variant="primary" pending={verify.isPending}>
            {t('verifyDialog.submit')}
          </Button>
        </>
      }
    >
      <form
        id="backup-verify"
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          verify.mutate({
            input: { params: { id: backup.id }, body: { boot, waitSeconds: wait ?? WAIT_SECONDS } },
          })
        }}
      >
        <p className="text-dim">{t('verifyDialog.intro')}</p>
        {error && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <Checkbox
          label={t('verifyDialog.boot')}
          hint={t('verifyDialog.bootHint')}
          checked={boot}
          onChange={(event) => setBoot(event.target.checked)}
        />
        {boot && (
          <NumberField
            label={t('verifyDialog.wait')}
            unit="s"
            min={2}
            max={600}
            required
            value={wait}
            onValue={setWait}
            className="max-w-40"
          />
        )}
      </form>
    </Dialog>
  )
}
