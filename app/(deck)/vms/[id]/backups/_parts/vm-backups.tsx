'use client'
import { BackupsView } from '#components/backup/backups-view.tsx'
import { Page } from '#components/ui/page.tsx'
import { useVm } from '#components/vm/vm-context.tsx'

export function VmBackups() {
  const vm = useVm()
  return (
    <Page>
      <BackupsView vm={vm} />
    </Page>
  )
}
