'use client'
import { Badge } from '#components/ui/badge.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { clones as messages } from '#lib/i18n/messages/en/clones.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** That a VM is a template, or stands on the disks of another. */
export function LineageBadges({ vm }: { readonly vm: Pick<Vm, 'template' | 'origin'> }) {
  const t = useT(messages)
  return (
    <>
      {vm.template !== undefined && (
        <Badge tone="accent" tip={t('templateTip')}>
          {t('template')}
        </Badge>
      )}
      {vm.origin?.kind === 'linked' && <Badge tip={t('linkedTip', { name: vm.origin.name })}>{t('linkedTag')}</Badge>}
    </>
  )
}
