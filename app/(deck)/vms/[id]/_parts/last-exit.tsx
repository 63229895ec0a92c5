'use client'
import { ButtonLink } from '#components/nav/link.tsx'
import { Time } from '#components/text/time.tsx'
import { Banner, Disclosure, Output } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import { paths } from '#lib/paths.ts'
import type { Vm, VmExit } from '#lib/schema/vm-state.ts'

const TONE: Record<VmExit['kind'], 'info' | 'attention' | 'error'> = {
  'guest-shutdown': 'info',
  operator: 'info',
  'host-reboot': 'info',
  unknown: 'attention',
  'host-signal': 'attention',
  crash: 'error',
  'launch-failure': 'error',
}

/** Why it is off: what happened, what to do about it, and QEMU's own words. */
export function LastExit({ vm, exit }: { readonly vm: Vm; readonly exit: VmExit }) {
  const t = useT(messages)
  const tone = TONE[exit.kind]
  return (
    <section aria-label={t('exit.title')}>
      <Banner
        tone={tone}
        actions={
          tone === 'info' ? undefined : (
            <ButtonLink size="sm" href={paths.vmDefinition(vm.id)}>
              {t('exit.fix')}
            </ButtonLink>
          )
        }
      >
        <p>
          <span className="font-medium">{exit.summary}</span>{' '}
          <span className="text-dim text-sm">
            <Time at={exit.at} />
            {exit.by && ` · ${t('exit.by', { name: exit.by })}`}
            {exit.signal
              ? ` · ${t('exit.signal', { signal: exit.signal })}`
              : exit.exitCode !== null && exit.exitCode !== 0
                ? ` · ${t('exit.code', { code: exit.exitCode })}`
                : ''}
          </span>
        </p>
        {exit.advice && <p>{exit.advice}</p>}
        {exit.stderrTail && (
          <div className="mt-2">
            {tone === 'error' ? (
              <Output label={t('exit.output')}>{exit.stderrTail}</Output>
            ) : (
              <Disclosure summary={t('exit.output')}>
                <Output label={t('exit.output')}>{exit.stderrTail}</Output>
              </Disclosure>
            )}
          </div>
        )}
      </Banner>
    </section>
  )
}
