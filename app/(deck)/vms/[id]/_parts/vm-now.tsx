'use client'
import { Person, RecordingNote } from '#components/console/people-strip.tsx'
import { type Fact, Facts, Section } from '#components/ui/page.tsx'
import { Sparkline } from '#components/ui/sparkline.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { loadHistory } from '#lib/client/load-history.ts'
import { formatMiB, formatPercent, formatRate } from '#lib/i18n/format.ts'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import type { Vm, VmLive } from '#lib/schema/vm-state.ts'
import { LimitsNote } from './limits-note.tsx'

/** Live numbers; they change in place without moving anything. */
export function VmNow({ vm, live }: { readonly vm: Vm; readonly live: VmLive }) {
  const t = useT(messages)
  const locale = useLocale()
  const manages = vm.privileges?.includes('vm.console.manage') ?? false
  const measuring = <span className="text-faint">{t('now.measuring')}</span>
  const { guestMemory, disk } = live
  const facts: Fact[] = [
    {
      label: t('now.cpu'),
      value:
        live.cpuLoad === null ? (
          measuring
        ) : (
          <span className="flex flex-wrap items-center gap-x-3">
            <span className="figures min-w-28">
              {t('now.cpuValue', { share: formatPercent(live.cpuLoad / live.vcpus, locale), cpus: live.vcpus })}
            </span>
            <Sparkline values={loadHistory(vm.id)} max={live.vcpus} className="h-5 w-32" />
          </span>
        ),
    },
    {
      label: t('now.memory'),
      value:
        live.residentMiB === null ? (
          measuring
        ) : (
          <span className="figures">
            {t('now.memoryValue', {
              used: formatMiB(live.residentMiB, locale),
              total: formatMiB(live.memoryMiB, locale),
            })}
          </span>
        ),
    },
    {
      label: t('now.guestMemory'),
      value:
        guestMemory && guestMemory.availableMiB !== null ? (
          <span className="figures">
            {t('now.guestMemoryValue', {
              used: formatMiB(guestMemory.totalMiB - guestMemory.availableMiB, locale),
              total: formatMiB(guestMemory.totalMiB, locale),
            })}
          </span>
        ) : (
          <span className="text-faint">{t('now.noBalloon')}</span>
        ),
    },
    {
      label: t('now.diskRead'),
      value: disk ? <span className="figures">{formatRate(disk.readBytesPerSecond, locale)}</span> : measuring,
    },
    {
      label: t('now.diskWrite'),
      value: disk ? <span className="figures">{formatRate(disk.writeBytesPerSecond, locale)}</span> : measuring,
    },
    {
      label: t('now.addresses'),
      value:
        live.addresses.length > 0 ? (
          <span className="font-mono text-sm">{live.addresses.join(', ')}</span>
        ) : (
          <span className="text-faint">{t('now.noAddresses')}</span>
        ),
    },
    {
      label: t('now.agent'),
      value: t(live.agent === null ? 'now.agentUnknown' : live.agent ? 'now.agentYes' : 'now.agentNo'),
    },
    {
      label: t('now.viewers'),
      value:
        live.watching.length === 0 ? (
          <span className="text-faint">{t('now.nobody')}</span>
        ) : (
          <ul aria-label={t('now.viewers')} className="flex flex-wrap gap-x-4 gap-y-1">
            {live.watching.map((viewer) => (
              <Person key={viewer.id} vm={vm} viewer={viewer} isYou={false} elsewhere manages={manages} />
            ))}
          </ul>
        ),
    },
    ...(live.recordings.length === 0
      ? []
      : [
          {
            label: t('now.recordings'),
            value: (
              <span className="flex flex-col">
                {live.recordings.map((mark) => (
                  <RecordingNote key={mark.id} mark={mark} />
                ))}
              </span>
            ),
          },
        ]),
    { label: t('now.limits'), value: <LimitsNote held={live.limits} /> },
    { label: t('now.confinement'), value: t(`confinement.${live.confinement}`) },
    {
      label: t('now.process'),
      value: (
        <span className="figures">
          {t('now.processValue', { version: live.qemuVersion, pid: String(live.pid), uid: String(live.uid) })}
        </span>
      ),
    },
  ]
  return (
    <Section title={t('now.title')}>
      <Facts facts={facts} />
    </Section>
  )
}
