'use client'
import { useQuery } from '@tanstack/react-query'
import { Link } from '#components/nav/link.tsx'
import { Elapsed } from '#components/text/time.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useNow } from '#lib/client/use-now.ts'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { usage as messages } from '#lib/i18n/messages/en/usage.ts'
import { paths } from '#lib/paths.ts'

const OFF_MS = 30 * 86_400_000

/** Running ones that are idle, and those that have been off for a month. */
export function IdleVms() {
  const t = useT(messages)
  const locale = useLocale()
  const now = useNow()
  const vms = useQuery(queries.vmList()).data?.items
  const disks = useQuery(queries.volumeList()).data?.items
  const idle = vms?.filter((vm) => vm.lab?.idle != null && vm.live !== undefined) ?? []
  const off =
    vms?.filter(
      (vm) => vm.template === undefined && vm.live === undefined && now !== 0 && now - Date.parse(vm.since) > OFF_MS,
    ) ?? []
  const bytesOf = (id: string) =>
    disks?.reduce((sum, disk) => sum + (disk.vm?.id === id ? (disk.allocatedBytes ?? 0) : 0), 0) ?? 0
  return (
    <Section title={t('idle.title')}>
      {vms !== undefined && idle.length + off.length === 0 && <p className="text-faint">{t('idle.none')}</p>}
      <ul className="-mt-3 flex flex-col">
        {[...idle, ...off].map((vm) => (
          <li key={vm.id} className="flex flex-wrap items-baseline gap-x-3 border-line border-b py-2">
            <span className="min-w-0 flex-1 basis-48">
              <Link href={paths.vm(vm.id)} className="break-all font-medium">
                {vm.name}
              </Link>{' '}
              <span className="text-faint">{vm.project?.name ?? vm.owner.name}</span>
              <span className="block text-dim">
                {vm.live === undefined
                  ? t.rich('idle.off', { time: () => <Elapsed since={vm.since} /> })
                  : t('idle.running')}
              </span>
            </span>
            <span className="figures text-dim">
              {t('idle.gives', {
                what:
                  vm.live === undefined ? formatBytes(bytesOf(vm.id), locale) : formatMiB(vm.live.memoryMiB, locale),
              })}
            </span>
          </li>
        ))}
      </ul>
    </Section>
  )
}
