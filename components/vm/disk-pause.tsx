'use client'
import { ButtonLink } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { usePower } from '#lib/client/mutations.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { room as messages } from '#lib/i18n/messages/en/room.ts'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Why disks that cannot be written stopped the guest, and what to do; nothing when they did not. */
export function DiskPauseNotice({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const power = usePower()
  const pause = vm.diskPause
  if (pause === undefined) return null
  return (
    <section aria-label={t('label')} className="px-4 pt-4 sm:px-6">
      <Banner
        tone="attention"
        actions={
          <>
            <Button
              variant="primary"
              size="sm"
              disabledReason={vm.actions.resume?.reason}
              onClick={() => void power(vm, 'resume')}
            >
              {tApp('power.resume')}
            </Button>
            {pause.resumesItself && (
              <Button size="sm" disabledReason={vm.actions.pause?.reason} onClick={() => void power(vm, 'pause')}>
                {t('stay')}
              </Button>
            )}
            <ButtonLink size="sm" href={paths.storage()}>
              {t('storage')}
            </ButtonLink>
          </>
        }
      >
        <p role="status">{vm.stateDetail}</p>
        {pause.disks.length > 1 && (
          <ul className="mt-1 text-dim text-sm">
            {pause.disks.map(({ device, cause, pool, freeBytes }) => (
              <li key={device}>
                {t('disk', {
                  ...{ device, cause, pool: pool?.name ?? '–' },
                  free: freeBytes === null ? '–' : formatBytes(freeBytes, locale),
                })}
              </li>
            ))}
          </ul>
        )}
        {pause.resumesItself && <p className="text-dim text-sm">{t('waits')}</p>}
      </Banner>
    </section>
  )
}
